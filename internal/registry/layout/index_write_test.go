package layout_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// snapshot returns the digest of every file in a folder, keyed by its name.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		files[strings.TrimPrefix(name, dir)] = fmt.Sprintf("%x", sha256.Sum256(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// writeIndex replaces the index of a layout with one that has the given entries.
func writeIndex(t *testing.T, dir string, entries ...string) {
	t.Helper()
	registrytest.WriteFile(t, dir, ocispec.ImageIndexFile, []byte(`{"schemaVersion":2,"manifests":[`+strings.Join(entries, ",")+`]}`))
}

// readIndex returns the content of the index of a layout.
func readIndex(t *testing.T, dir string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// entry returns an index entry for m, with annotations given as JSON.
func entry(m registrytest.Manifest, annotations string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{%s}}`, m.MediaType, m.Digest, len(m.Bytes), annotations)
}

// refName returns the annotation that gives an index entry a tag.
func refName(tag string) string { return fmt.Sprintf(`%q:%q`, ocispec.AnnotationRefName, tag) }

// manifestOf returns content as a registry.Manifest.
func manifestOf(t *testing.T, content registrytest.Content) registry.Manifest {
	t.Helper()
	built := content.Build()
	m, err := registry.NewManifest(built.MediaType, built.Bytes, "")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// annotated returns n JSON annotations.
func annotated(n int) string {
	var annotations []string
	for i := range n {
		annotations = append(annotations, fmt.Sprintf(`"%d":""`, i))
	}
	return strings.Join(annotations, ",")
}

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
	sound := manifestOf(t, image)
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
			m := sound
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

// wantEntries checks that the index of a layout has exactly the given JSON entries.
func wantEntries(t *testing.T, dir string, want ...string) {
	t.Helper()
	var index struct{ Manifests []any }
	var entries []any
	if err := errors.Join(json.Unmarshal([]byte(readIndex(t, dir)), &index), json.Unmarshal([]byte("["+strings.Join(want, ",")+"]"), &entries)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(index.Manifests, entries) {
		t.Errorf("entries are %v, want %v", index.Manifests, entries)
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

// A schema 1 manifest has no mediaType field, but can still be read by its digest.
func TestGetManifest_Schema1ByDigest(t *testing.T) {
	from := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Schema1Image{Seed: "a"})
	dir := filepath.Join(t.TempDir(), "new")
	promote(t, copier.Job{Source: repository(t, pushed.Ref), Reference: "1", Destination: create(t, dir), Tags: []string{"1"}})
	m, err := open(t, dir).GetManifest(t.Context(), pushed.Digest.String())
	if err != nil || m.MediaType != pushed.MediaType || m.Digest != pushed.Digest {
		t.Errorf("GetManifest() = %s of %q, %v, want %s of %q", m.Digest, m.MediaType, err, pushed.Digest, pushed.MediaType)
	}
}
