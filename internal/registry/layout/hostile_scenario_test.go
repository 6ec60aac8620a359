package layout_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestOpen_InvalidLayout(t *testing.T) {
	write := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { registrytest.WriteFile(t, dir, name, []byte(content)) }
	}
	for name, c := range map[string]struct {
		damage   func(*testing.T, string)
		kind     error
		wantText string
	}{
		"missing_folder":      {func(t *testing.T, dir string) { remove(t, dir) }, registry.ErrNotFound, "no such file or directory"},
		"missing_marker":      {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "oci-layout")) }, registry.ErrInvalidLayout, `it holds no file "oci-layout"`},
		"unsupported_version": {write("oci-layout", `{"imageLayoutVersion":"2.0.0"}`), registry.ErrInvalidLayout, "does not say that it is one of version 1"},
		"invalid_marker":      {write("oci-layout", "x"), registry.ErrInvalidLayout, "does not say that it is one of version 1"},
		"marker_too_large":    {write("oci-layout", strings.Repeat(" ", 65<<10)), registry.ErrLimit, "oci-layout is larger than the 65536 bytes that are read"},
		"missing_index":       {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "index.json")) }, registry.ErrInvalidLayout, `it holds no file "index.json"`},
		"invalid_index":       {write("index.json", "[]"), registry.ErrInvalidLayout, "index.json: "},
		"index_too_large":     {write("index.json", strings.Repeat(" ", 4<<20+1)), registry.ErrLimit, "larger than the 4194304 bytes that are read"},
		"index_with_layers":   {write("index.json", `{"schemaVersion":2,"manifests":[],"layers":[]}`), registry.ErrInvalidLayout, "index.json: "},
		"digest_with_path": {write("index.json", `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:../../../etc/passwd","size":5}]}`),
			registry.ErrInvalidLayout, "its digest is refused"},
		"missing_manifest": {write("index.json", index(digest.FromString("gone"))), registry.ErrNotFound, "the layout does not hold it"},
		"digest_mismatch": {func(t *testing.T, dir string) {
			d := digest.FromString("promised")
			registrytest.WriteFile(t, dir, registrytest.BlobFile(d), []byte("else"))
			registrytest.WriteFile(t, dir, "index.json", []byte(index(d)))
		}, registry.ErrMismatch, "its bytes have the digest " + digest.FromString("else").String()},
		"manifest_too_large": {func(t *testing.T, dir string) {
			content := []byte(strings.Repeat(" ", 4<<20+1))
			registrytest.WriteFile(t, dir, registrytest.BlobFile(digest.FromBytes(content)), content)
			registrytest.WriteFile(t, dir, "index.json", []byte(index(digest.FromBytes(content))))
		}, registry.ErrLimit, "larger than the 4194304 bytes that are read"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
			c.damage(t, dir)
			l, err := layout.Open(dir)
			if err == nil {
				_, err = l.GetManifest(t.Context(), "1")
			}
			assertError(t, err, c.wantText, layout.Scheme+dir)
			if !errors.Is(err, c.kind) {
				t.Errorf("GetManifest() = %v, want %v", err, c.kind)
			}
		})
	}
}

func TestCopy_DamagedSourceBlob(t *testing.T) {
	damaged := []string{"corrupt", "truncated"}
	for name, damage := range map[string]func(t *testing.T, dir, file string){
		"corrupt": func(t *testing.T, dir, file string) {
			content, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			content[0] ^= 1
			registrytest.WriteFile(t, dir, file, content)
		},
		"truncated": func(t *testing.T, dir, file string) { registrytest.WriteFile(t, dir, file, []byte("x")) },
		"missing":   func(t *testing.T, dir, file string) { remove(t, filepath.Join(dir, file)) },
		"symlink_out_of_layout": func(t *testing.T, dir, file string) {
			outside := filepath.Join(t.TempDir(), "outside")
			if err := os.Rename(filepath.Join(dir, file), outside); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
		},
		"folder": func(t *testing.T, dir, file string) {
			remove(t, filepath.Join(dir, file))
			registrytest.WriteFile(t, dir, file+"/x", nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			layer := registrytest.Layer("layer", 100_000)
			image := registrytest.Image{Seed: "a", Layers: []registrytest.Blob{layer}}
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image})
			damage(t, dir, registrytest.BlobFile(layer.Descriptor().Digest))
			to := registrytest.Scripted(t, registrytest.Behaviour{})
			_, err := copier.New(discard()).Copy(t.Context(), copier.Job{
				Source: open(t, dir), Reference: "1", Destination: repository(t, to.Ref("app", "1")), Tags: []string{"1"},
			})
			e, ok := errors.AsType[*registry.Error](err)
			if !ok || e.Side != registry.Source {
				t.Fatalf("Copy() = %v, want an error of the source", err)
			}
			if slices.Contains(damaged, name) && e.Hint != "The layout is damaged: build or copy it again." {
				t.Errorf("Copy() hint = %q, want the one for a damaged layout", e.Hint)
			}
			if to.HasBlob(t, "app", layer.Descriptor().Digest) || len(to.Tags(t, "app")) > 0 {
				t.Error("Copy() wrote the layer or a tag to the destination")
			}
		})
	}
}

func TestCreate_NotALayout(t *testing.T) {
	dir := t.TempDir()
	registrytest.WriteFile(t, dir, "precious", []byte("x"))
	_, err := layout.Create(dir)
	assertError(t, err, `it holds no file "oci-layout"`)
	_, err = layout.Create(filepath.Join(dir, "precious"))
	assertError(t, err, "it is a file, and an archive can be read but not written to")
}

// A layout from an untrusted source may contain symbolic links.
func TestCopy_SymlinkOutOfLayout(t *testing.T) {
	outside := t.TempDir()
	dir := registrytest.Layout(t, nil)
	if err := os.Symlink(outside, filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	from := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
	_, err := copier.New(discard()).Copy(t.Context(), copier.Job{Source: open(t, from), Reference: "1", Destination: create(t, dir), Tags: []string{"1"}})
	if e, ok := errors.AsType[*registry.Error](err); !ok || e.Side != registry.Destination {
		t.Errorf("Copy() = %v, want an error of the destination", err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("ReadDir() of the folder outside = %v, %v, want no entries", entries, err)
	}
}

// FuzzLayout checks that a layout with arbitrary content is either read with matching digests,
// or rejected with a *registry.Error that names the layout.
func FuzzLayout(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[]}`), []byte("{}"), "1")
	f.Add([]byte(index(digest.FromString("{}"))), []byte("{}"), "1")
	f.Add([]byte(index(digest.FromString(`{"config":{}}`))), []byte(`{"config":{}}`), "")
	f.Add([]byte(`{"manifests":[{"digest":"sha256:../../x","size":-1}]}`), []byte("x"), "sha256:../x")
	f.Fuzz(func(t *testing.T, indexJSON, blob []byte, reference string) {
		dir := t.TempDir()
		registrytest.WriteFile(t, dir, ocispec.ImageLayoutFile, []byte(`{"imageLayoutVersion":"1.0.0"}`))
		registrytest.WriteFile(t, dir, ocispec.ImageIndexFile, indexJSON)
		registrytest.WriteFile(t, dir, registrytest.BlobFile(digest.FromBytes(blob)), blob)
		l, err := layout.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		m, err := l.GetManifest(t.Context(), reference)
		if err != nil {
			assertSafeError(t, err, l.Name())
			return
		}
		if d := m.Digest.Algorithm().FromBytes(m.Content); d != m.Digest && !registry.IsSchema1(m.MediaType) {
			t.Errorf("GetManifest() digest = %s, want %s", m.Digest, d)
		}
	})
}
