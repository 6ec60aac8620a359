package layout_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestPutManifest_IndexLimit(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	built := image.Build()
	other := manifestOf(t, registrytest.Image{Seed: "a", Annotations: map[string]string{"same": "blobs"}})
	tagged, unnamed := entry(built, refName("1")), entry(built, "")
	size := len(`{"schemaVersion":2,"manifests":[` + tagged + "," + entry(built, `"x":""`) + `]}`)
	for name, test := range map[string]struct {
		entries  []string
		wantText string
	}{
		"entries": {slices.Repeat([]string{unnamed}, 9_999), "it has a list of more than 10000 entries"},
		"bytes":   {[]string{entry(built, `"x":"`+strings.Repeat("<", 4<<20-size)+`"`)}, "and at most 4194304 are read"},
		"values":  {append(slices.Repeat([]string{entry(built, annotated(5))}, 9_522), unnamed), "it has more than 200000 names and values"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image})
			writeIndex(t, dir, append(test.entries, tagged)...)
			before := snapshot(t, dir)
			l := create(t, dir)
			err := l.PutManifest(t.Context(), "2", other)
			assertError(t, err, "index.json would be refused when it is read: ", test.wantText)
			if e, ok := errors.AsType[*registry.Error](err); !ok || !errors.Is(err, registry.ErrLimit) || !strings.Contains(e.Hint, "a layout in another folder") {
				t.Errorf("PutManifest() = %v, want ErrLimit with a hint", err)
			}
			if after := snapshot(t, dir); !maps.Equal(after, before) {
				t.Errorf("files are %v, want %v", after, before)
			}
			if tags, err := l.ListTags(t.Context()); err != nil || !slices.Equal(tags, []string{"1"}) {
				t.Errorf("ListTags() = %v, %v", tags, err)
			}
			if name == "entries" { // moving a tag adds no entry
				if err := l.PutManifest(t.Context(), "1", other); err != nil {
					t.Errorf("PutManifest() of an existing tag = %v", err)
				}
			}
			if err := l.DeleteTag(t.Context(), "1"); err != nil {
				t.Errorf("DeleteTag() = %v", err)
			}
			if err := l.PutManifest(t.Context(), "2", other); err != nil {
				t.Errorf("PutManifest() after DeleteTag() = %v", err)
			}
		})
	}
}

// Tags can be removed from an index that an earlier version let grow beyond the limit.
func TestDeleteTag_IndexOverLimit(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image})
	unnamed := slices.Repeat([]string{entry(image.Build(), "")}, 10_000)
	writeIndex(t, dir, append(unnamed, entry(image.Build(), refName("1")))...)
	l := create(t, dir)
	if _, err := l.ListTags(t.Context()); !errors.Is(err, registry.ErrInvalidLayout) {
		t.Fatalf("ListTags() = %v, want ErrInvalidLayout", err)
	}
	if err := l.DeleteTag(t.Context(), "1"); err != nil {
		t.Fatalf("DeleteTag() = %v", err)
	}
	if tags, err := l.ListTags(t.Context()); err != nil || tags != nil {
		t.Errorf("ListTags() = %v, %v", tags, err)
	}
}

func TestPutManifest_UnreadableIndex(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	built := image.Build()
	for name, index := range map[string]string{
		"null":           "null",
		"list":           "[]",
		"no_list":        `{"manifests":{}}`,
		"duplicate_list": `{"manifests":[` + entry(built, refName("1")) + `],"manifests":[]}`,
		"invalid_digest": `{"manifests":[{"mediaType":"a/b","digest":"sha256:x","size":1}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image})
			registrytest.WriteFile(t, dir, ocispec.ImageIndexFile, []byte(index))
			before := snapshot(t, dir)
			err := create(t, dir).PutManifest(t.Context(), "2", manifestOf(t, image))
			assertError(t, err, "index.json")
			if !errors.Is(err, registry.ErrInvalidLayout) {
				t.Errorf("PutManifest() = %v, want ErrInvalidLayout", err)
			}
			if after := snapshot(t, dir); !maps.Equal(after, before) {
				t.Errorf("files are %v, want %v", after, before)
			}
		})
	}
}

func TestPutManifest_InvalidManifest(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	valid := manifestOf(t, image)
	for name, test := range map[string]struct {
		damage   func(m *registry.Manifest)
		kind     error
		wantText string
	}{
		"too_large": {func(m *registry.Manifest) {
			m.Content = append([]byte(strings.Repeat(" ", 4<<20)), m.Content...)
			m.Digest = digest.FromBytes(m.Content)
		}, registry.ErrLimit, "at most 4194304 are read of a manifest in an image layout"},
		"another_digest":   {func(m *registry.Manifest) { m.Digest = digest.FromString("other") }, registry.ErrMismatch, "its bytes have the digest"},
		"malformed_digest": {func(m *registry.Manifest) { m.Digest = "../x" }, registry.ErrInvalidReference, ""},
		"media_type":       {func(m *registry.Manifest) { m.MediaType = "text/plain" }, registry.ErrProtocol, "text/plain"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image})
			before := snapshot(t, dir)
			m := valid
			test.damage(&m)
			for _, reference := range []string{"2", m.Digest.String()} {
				err := create(t, dir).PutManifest(t.Context(), reference, m)
				assertError(t, err, test.wantText)
				if !errors.Is(err, test.kind) {
					t.Errorf("PutManifest(%q) = %v, want %v", reference, err, test.kind)
				}
			}
			if after := snapshot(t, dir); !maps.Equal(after, before) {
				t.Errorf("files are %v, want %v", after, before)
			}
		})
	}
}

// Other builders and copiers use their own annotations to name index entries, or none.
func TestDelete_EntriesOfOtherTools(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	a, b := image.Build(), registrytest.Image{Seed: "b"}.Build()
	const containerd = `"io.containerd.image.name":"docker.io/library/app:1"`
	ours, unnamed, named := entry(a, refName("1")), entry(a, ""), entry(a, containerd)
	both, other := entry(a, containerd+","+refName("1")), entry(b, refName("other"))
	byTag := func(t *testing.T, dir string) error { return create(t, dir).DeleteTag(t.Context(), "1") }
	byDigest := func(t *testing.T, dir string) error { return create(t, dir).DeleteManifest(t.Context(), a.Digest) }
	for name, test := range map[string]struct{ entries, left []string }{
		"unnamed":          {[]string{unnamed, ours, other}, []string{unnamed, other}},
		"containerd_name":  {[]string{ours, named, other}, []string{named, other}},
		"both_names":       {[]string{both, other}, []string{named, other}},
		"platform_variant": {[]string{ours, strings.Replace(unnamed, "{", `{"platform":{"os":"linux","architecture":"arm64"},`, 1)}, []string{strings.Replace(unnamed, "{", `{"platform":{"os":"linux","architecture":"arm64"},`, 1)}},
		"only_ours":        {[]string{ours}, nil},
	} {
		for kind, remove := range map[string]func(*testing.T, string) error{"tag": byTag, "manifest": byDigest} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image, "other": registrytest.Image{Seed: "b"}})
				writeIndex(t, dir, test.entries...)
				if err := remove(t, dir); err != nil {
					t.Fatal(err)
				}
				wantEntries(t, dir, test.left...)
				if err := remove(t, dir); !errors.Is(err, registry.ErrNotFound) {
					t.Errorf("second removal = %v, want ErrNotFound", err)
				}
			})
		}
	}
}

func TestPutManifest_EntriesOfOtherTools(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	a, moved := image.Build(), registrytest.Image{Seed: "a", Annotations: map[string]string{"same": "blobs"}}
	const containerd = `"io.containerd.image.name":"docker.io/library/app:1"`
	both, unnamed, named := entry(a, containerd+","+refName("1")), entry(a, ""), entry(a, containerd)
	written := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{%s}}`, moved.Build().MediaType, moved.Build().Digest, len(moved.Build().Bytes), refName("1"))
	for name, test := range map[string]struct {
		entries []string
		put     registrytest.Content
		want    []string
	}{
		"same_digest_keeps_annotations": {[]string{both, unnamed}, image, []string{both, unnamed}},
		"moved_tag_keeps_other_names":   {[]string{both, unnamed}, moved, []string{named, unnamed, written}},
		"duplicate_tags_become_one":     {[]string{entry(a, refName("1")), entry(a, refName("1"))}, moved, []string{written}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image})
			writeIndex(t, dir, test.entries...)
			l := create(t, dir)
			if err := l.PutManifest(t.Context(), "1", manifestOf(t, test.put)); err != nil {
				t.Fatal(err)
			}
			wantEntries(t, dir, test.want...)
			if d, err := l.Resolve(t.Context(), "1"); err != nil || d.Digest != test.put.Build().Digest {
				t.Errorf("Resolve() = %s, %v, want %s", d.Digest, err, test.put.Build().Digest)
			}
		})
	}
}

func TestPutManifest_KeepsUnknownFields(t *testing.T) {
	dir := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
	const strange = `{"schemaVersion":2,"x":{"b":1,"a":2},"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"y":1}]}`
	registrytest.WriteFile(t, dir, ocispec.ImageIndexFile, []byte(strange))
	from := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "b"}})
	promote(t, copier.Job{Source: open(t, from), Reference: "1", Destination: create(t, dir), Tags: []string{"1"}})
	content, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		X         json.RawMessage
		Manifests []json.RawMessage
	}
	if err := json.Unmarshal(content, &index); err != nil {
		t.Fatal(err)
	}
	if string(index.X) != `{"b":1,"a":2}` || len(index.Manifests) != 2 || !strings.Contains(string(index.Manifests[0]), `"y":1`) {
		t.Errorf("index.json = %s, want the unknown fields kept", content)
	}
}

func TestDeleteTag_MissingFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if err := create(t, dir).DeleteTag(t.Context(), "1"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("DeleteTag() = %v, want ErrNotFound", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("Stat() = %v, want the folder not to exist", err)
	}
}
