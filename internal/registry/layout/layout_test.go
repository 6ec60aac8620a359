package layout_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// open opens a layout for reading.
func open(t *testing.T, path string) *layout.Layout {
	t.Helper()
	l, err := layout.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// create opens a layout for writing.
func create(t *testing.T, path string) *layout.Layout {
	t.Helper()
	l, err := layout.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// repository returns a repository of a registry.
func repository(t *testing.T, ref string) registry.Repository {
	t.Helper()
	none := ""
	client, err := remote.New(remote.Options{Credentials: auth.Options{DockerConfigPath: &none}})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := registry.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	return client.Repository(parsed, remote.Push)
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// promote runs a copy that must succeed.
func promote(t *testing.T, job copier.Job) copier.Report {
	t.Helper()
	report, err := copier.New(discard()).Copy(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// kinds returns one content of each kind that a layout may have.
func kinds() map[string]registrytest.Content {
	return map[string]registrytest.Content{
		"image":          registrytest.Image{Seed: "a"},
		"index":          registrytest.MultiArch("b"),
		"nested_indexes": registrytest.Nested("c"),
		"docker_list":    registrytest.DockerList("d"),
		"artifact":       registrytest.Artifact{Seed: "e"},
	}
}

func TestCopy_LayoutToRegistry(t *testing.T) {
	for name, content := range kinds() {
		t.Run(name, func(t *testing.T) {
			to := registrytest.Scripted(t, registrytest.Behaviour{})
			want := registrytest.Scripted(t, registrytest.Behaviour{}).Push(t, "app", "1", content)
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": content, "other": registrytest.Image{Seed: "other"}})
			for form, path := range map[string]string{"folder": dir, "tar": registrytest.Tar(t, dir)} {
				promote(t, copier.Job{Source: open(t, path), Reference: "1", Destination: repository(t, to.Ref(form, "1")), Tags: []string{"1"}})
				registrytest.Same(t, want.Tree, to.Read(t, form, "1"))
			}
		})
	}
}

func TestCopy_RegistryToLayout(t *testing.T) {
	for name, content := range kinds() {
		t.Run(name, func(t *testing.T) {
			from := registrytest.Scripted(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", content)
			dir := filepath.Join(t.TempDir(), "new", "layout")
			job := copier.Job{Source: repository(t, pushed.Ref), Reference: "1", Destination: create(t, dir), Tags: []string{"1", "stable"}}
			promote(t, job)
			for _, tag := range job.Tags {
				registrytest.Same(t, pushed.Tree, registrytest.ReadLayout(t, dir, tag))
			}
			if report := promote(t, job); report.Copied.Blobs+report.Manifests > 0 {
				t.Errorf("second Copy() = %+v, want nothing copied", report)
			}
			registrytest.Same(t, pushed.Tree, registrytest.ReadLayout(t, registrytest.Layout(t, map[string]registrytest.Content{"1": content}), "1"))
			left, err := filepath.Glob(filepath.Join(dir, "*", "*", ".new-*"))
			if err != nil || len(left) > 0 {
				t.Errorf("temporary files = %q, %v, want none", left, err)
			}
		})
	}
}

func TestCopy_MovedTagKeepsOthers(t *testing.T) {
	dir := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "old"}, "kept": registrytest.Image{Seed: "kept"}})
	from := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "new"}})
	kept := registrytest.ReadLayout(t, dir, "kept")
	promote(t, copier.Job{Source: open(t, from), Reference: "1", Destination: create(t, dir), Tags: []string{"1"}})
	registrytest.Same(t, registrytest.ReadLayout(t, from, "1"), registrytest.ReadLayout(t, dir, "1"))
	registrytest.Same(t, kept, registrytest.ReadLayout(t, dir, "kept"))

	l := create(t, dir)
	if err := l.DeleteTag(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	if err := l.DeleteTag(t.Context(), "1"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("second DeleteTag() = %v, want ErrNotFound", err)
	}
	if tags, err := l.ListTags(t.Context()); err != nil || len(tags) != 1 || tags[0] != "kept" {
		t.Errorf("ListTags() = %q, %v", tags, err)
	}
	if err := l.DeleteManifest(t.Context(), kept.Root); err != nil {
		t.Fatal(err)
	}
	if tags, err := l.ListTags(t.Context()); err != nil || len(tags) != 0 {
		t.Errorf("ListTags() = %q, %v", tags, err)
	}
}

func TestResolve_References(t *testing.T) {
	one, two := registrytest.Image{Seed: "one"}, registrytest.Image{Seed: "two"}
	d := string(two.Build().Digest)
	for name, c := range map[string]struct {
		tagged    map[string]registrytest.Content
		reference string
		want      digest.Digest // "" for an error
		wantText  string
	}{
		"only_manifest":         {map[string]registrytest.Content{"x": one}, "", one.Build().Digest, ""},
		"unnamed":               {map[string]registrytest.Content{"": one}, "", one.Build().Digest, ""},
		"tag":                   {map[string]registrytest.Content{"1": one, "2": two}, "2", two.Build().Digest, ""},
		"digest":                {map[string]registrytest.Content{"1": one, "2": two}, d, two.Build().Digest, ""},
		"tag_of_full_name":      {map[string]registrytest.Content{"localhost/app:1": one, "localhost/app:2": two}, "2", two.Build().Digest, ""},
		"tag_before_full_name":  {map[string]registrytest.Content{"1": one, "localhost/app:1": two}, "1", one.Build().Digest, ""},
		"ambiguous_manifest":    {map[string]registrytest.Content{"1": one, "2": two}, "", "", `holds 2 manifests of that name: `},
		"ambiguous_tag":         {map[string]registrytest.Content{"a:1": one, "b:1": two}, "1", "", `"b:1"`},
		"missing_tag":           {map[string]registrytest.Content{"1": one}, "3", "", `the layout holds "1" (sha256:`},
		"empty_layout":          {nil, "1", "", "the layout holds nothing"},
		"missing_digest":        {map[string]registrytest.Content{"1": one}, d, "", "the layout does not hold it"},
		"one_manifest_two_tags": {map[string]registrytest.Content{"1": one, "2": one}, "", one.Build().Digest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, registrytest.Layout(t, c.tagged))
			found, err := l.Resolve(t.Context(), c.reference)
			if c.want == "" {
				assertError(t, err, c.wantText, l.Name())
				if _, err := l.GetManifest(t.Context(), c.reference); err == nil {
					t.Error("GetManifest() succeeded")
				}
				return
			}
			if err != nil || found.Digest != c.want {
				t.Errorf("Resolve() = %s, %v, want %s", found.Digest, err, c.want)
			}
			if m, err := l.GetManifest(t.Context(), c.reference); err != nil || m.Digest != c.want || m.MediaType != ocispec.MediaTypeImageManifest {
				t.Errorf("GetManifest() = %s of %q, %v", m.Digest, m.MediaType, err)
			}
		})
	}
}

// assertError checks that err is a *registry.Error whose text contains each of texts.
func assertError(t *testing.T, err error, texts ...string) {
	t.Helper()
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		t.Fatalf("error = %v, want a *registry.Error", err)
	}
	for _, text := range texts {
		if !strings.Contains(e.Error(), text) {
			t.Errorf("error = %q, want it to contain %q", e, text)
		}
	}
}

func TestGetManifest_DetectsMediaType(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"media_type":   {`{"schemaVersion":2,"mediaType":"application/vnd.example+json","layers":[]}`, "application/vnd.example+json"},
		"config":       {`{"schemaVersion":2,"config":{},"layers":[]}`, ocispec.MediaTypeImageManifest},
		"manifests":    {`{"schemaVersion":2,"manifests":[]}`, ocispec.MediaTypeImageIndex},
		"unknown":      {`{"schemaVersion":2}`, ""},
		"invalid_json": {`x`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := registrytest.Layout(t, nil)
			d := digest.FromString(c.content)
			registrytest.WriteFile(t, dir, registrytest.BlobFile(d), []byte(c.content))
			m, err := open(t, dir).GetManifest(t.Context(), d.String())
			if c.want == "" {
				assertError(t, err, "neither it nor an index says what media type it has")
				return
			}
			if err != nil || m.MediaType != c.want || string(m.Content) != c.content {
				t.Errorf("GetManifest() media type = %q, %v, want %q", m.MediaType, err, c.want)
			}
		})
	}
}

func TestOpen_ReadOnly(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image})
	l := open(t, dir)
	m, err := l.GetManifest(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	_, put := l.PutBlob(t.Context(), image.Build().Blobs[0].Descriptor(), registry.Content{})
	for name, err := range map[string]error{
		"blob": put, "manifest": l.PutManifest(t.Context(), "2", m), "tag": l.DeleteTag(t.Context(), "1"), "manifest removed": l.DeleteManifest(t.Context(), m.Digest),
	} {
		if !errors.Is(err, registry.ErrUnsupported) {
			t.Errorf("%s: error = %v, want ErrUnsupported", name, err)
		}
	}
}

func TestPutBlob_IncompleteContent(t *testing.T) {
	l := create(t, t.TempDir())
	content := "content"
	d := registry.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString(content), Size: int64(len(content))}
	broken := errors.New("broken")
	for name, open := range map[string]func(context.Context) (io.ReadCloser, error){
		"it breaks": func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("con"), failing{broken})), nil
		},
		"it cannot be opened": func(context.Context) (io.ReadCloser, error) { return nil, broken },
	} {
		if _, err := l.PutBlob(t.Context(), d, registry.Content{Open: open}); !errors.Is(err, broken) {
			t.Errorf("%s: PutBlob() = %v, want %v", name, err, broken)
		}
	}
	short := func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("con")), nil }
	if _, err := l.PutBlob(t.Context(), d, registry.Content{Open: short}); err == nil {
		t.Error("PutBlob() accepted truncated content")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancels := func(context.Context) (io.ReadCloser, error) {
		cancel(broken)
		return io.NopCloser(strings.NewReader(content)), nil
	}
	if _, err := l.PutBlob(ctx, d, registry.Content{Open: cancels}); !errors.Is(err, broken) {
		t.Errorf("PutBlob() with a canceled context = %v", err)
	}
	if _, err := l.StatBlob(t.Context(), d.Digest); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("StatBlob() = %v, want ErrNotFound", err)
	}
	whole := registry.Content{Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
	for i, want := range []registry.Outcome{registry.Copied, registry.AlreadyExists, registry.Copied} {
		whole.Force = i == 2
		if outcome, err := l.PutBlob(t.Context(), d, whole); err != nil || outcome != want {
			t.Errorf("PutBlob() = %q, %v, want %q", outcome, err, want)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestPutManifest_MissingContent(t *testing.T) {
	from := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
	m, err := open(t, from).GetManifest(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	l := create(t, t.TempDir())
	err = l.PutManifest(t.Context(), "1", m)
	assertError(t, err, "which the layout does not hold")
	if !errors.Is(err, registry.ErrMissingContent) {
		t.Errorf("PutManifest() = %v, want ErrMissingContent", err)
	}
}

func TestLayout_CanceledContext(t *testing.T) {
	l := open(t, registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}}))
	reason := errors.New("the machine goes down")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	_, resolve := l.Resolve(ctx, "1")
	_, get := l.GetManifest(ctx, "1")
	_, list := l.ListTags(ctx)
	_, stat := l.StatBlob(ctx, digest.FromString("a"))
	_, blob := l.GetBlob(ctx, registry.Descriptor{})
	for name, err := range map[string]error{"resolve": resolve, "get": get, "list": list, "stat": stat, "blob": blob} {
		if !errors.Is(err, reason) {
			t.Errorf("%s: error = %v, want %v", name, err, reason)
		}
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
