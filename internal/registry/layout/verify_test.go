package layout_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestCopy_DamagedLayout(t *testing.T) {
	index := registrytest.MultiArch("a")
	built := index.Build()
	child := built.Manifests[0]
	config, layer := child.Blobs[0].Descriptor().Digest, child.Blobs[1].Descriptor().Digest
	for name, d := range map[string]digest.Digest{"layer": layer, "config": config, "child": child.Digest, "root": built.Digest} {
		t.Run(name, func(t *testing.T) {
			from := registrytest.Layout(t, map[string]registrytest.Content{"1": index})
			want := registrytest.ReadLayout(t, from, "1")
			for kind, copyTo := range map[string]func(t *testing.T, dir string){
				// The layer and the manifest remain in the folder without a tag.
				"another_copy": func(t *testing.T, dir string) {
					writeIndex(t, dir)
					promote(t, copier.Job{Source: open(t, from), Reference: "1", Destination: create(t, dir), Tags: []string{"1"}})
				},
				"deep_check": func(t *testing.T, dir string) {
					missing, err := copier.New(discard()).Check(t.Context(), create(t, dir), built.Digest, nil)
					if err != nil || !slices.Equal(missing, []digest.Digest{d}) {
						t.Fatalf("Check() = %v, %v, want %s", missing, err, d)
					}
					promote(t, copier.Job{Source: open(t, from), Reference: "1", Destination: create(t, dir), Tags: []string{"1"}, Missing: missing})
					if missing, err := copier.New(discard()).Check(t.Context(), create(t, dir), built.Digest, nil); err != nil || missing != nil {
						t.Errorf("Check() after the repair = %v, %v", missing, err)
					}
				},
			} {
				t.Run(kind, func(t *testing.T) {
					dir := registrytest.Layout(t, map[string]registrytest.Content{"1": index})
					damage(t, dir, d)
					copyTo(t, dir)
					registrytest.Same(t, want, registrytest.ReadLayout(t, dir, "1"))
				})
			}
		})
	}
}

// Adding a tag writes only the manifest if the content of the image is intact.
func TestCopy_AdditionalTagOfDamagedImage(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	built := image.Build()
	for name, d := range map[string]digest.Digest{"manifest": built.Digest, "layer": built.Blobs[1].Descriptor().Digest} {
		t.Run(name, func(t *testing.T) {
			from := registrytest.Layout(t, map[string]registrytest.Content{"1": image})
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image})
			damage(t, dir, d)
			promote(t, copier.Job{Source: open(t, from), Reference: "1", Destination: create(t, dir), Tags: []string{"1", "2"}})
			registrytest.Same(t, registrytest.ReadLayout(t, from, "1"), registrytest.ReadLayout(t, dir, "2"))
		})
	}
}

func TestPutManifest_DamagedContent(t *testing.T) {
	index := registrytest.MultiArch("a")
	built := index.Build()
	dir := registrytest.Layout(t, map[string]registrytest.Content{"1": index})
	damage(t, dir, built.Manifests[0].Digest)
	err := create(t, dir).PutManifest(t.Context(), "2", manifestOf(t, index))
	assertError(t, err, "it names "+built.Manifests[0].Digest.String()+", which is damaged in the layout")
	if !errors.Is(err, registry.ErrMissingContent) {
		t.Errorf("PutManifest() = %v, want ErrMissingContent", err)
	}
}

func TestStatBlob_ReadsOncePerProcess(t *testing.T) {
	content := []byte("content")
	d := registry.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}
	dir := registrytest.Layout(t, nil)
	registrytest.WriteFile(t, dir, registrytest.BlobFile(d.Digest), content)
	stat := func() error {
		_, err := create(t, dir).StatBlob(t.Context(), d.Digest) // each copy opens its own Layout
		return err
	}
	longAgo := time.Now().Add(-time.Hour)
	age(t, dir, d.Digest, longAgo)
	if err := stat(); err != nil {
		t.Fatal(err)
	}
	damage(t, dir, d.Digest)
	age(t, dir, d.Digest, longAgo) // hides the change
	if err := stat(); err != nil {
		t.Errorf("StatBlob() read the file again: %v", err)
	}
	age(t, dir, d.Digest, longAgo.Add(time.Second))
	if err := stat(); !errors.Is(err, registry.ErrMismatch) {
		t.Errorf("StatBlob() of a modified file = %v, want ErrMismatch", err)
	}
	opened := 0
	if outcome, err := create(t, dir).PutBlob(t.Context(), d, blobOf(content, &opened)); err != nil || outcome != registry.Copied || opened != 1 {
		t.Errorf("PutBlob() = %q, %v, want %q", outcome, err, registry.Copied)
	}
	if err := stat(); err != nil {
		t.Errorf("StatBlob() of the replaced file = %v", err)
	}
}

// A file system may round modification times, so that a change right after the write does not
// show.
func TestPutBlob_DamagedAfterWrite(t *testing.T) {
	content := []byte("content")
	d := registry.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}
	dir := filepath.Join(t.TempDir(), "new")
	opened := 0
	for i := range 2 {
		if outcome, err := create(t, dir).PutBlob(t.Context(), d, blobOf(content, &opened)); err != nil || outcome != registry.Copied {
			t.Fatalf("PutBlob() %d = %q, %v, want %q", i, outcome, err, registry.Copied)
		}
		info, err := os.Stat(filepath.Join(dir, registrytest.BlobFile(d.Digest)))
		if err != nil {
			t.Fatal(err)
		}
		damage(t, dir, d.Digest)
		age(t, dir, d.Digest, info.ModTime())
	}
	if _, err := create(t, dir).StatBlob(t.Context(), d.Digest); !errors.Is(err, registry.ErrMismatch) {
		t.Errorf("StatBlob() = %v, want ErrMismatch", err)
	}
}

// cancelsLater is a context that is canceled after the first call of Err.
type cancelsLater struct {
	context.Context
	cancel context.CancelFunc
}

func (c cancelsLater) Err() error {
	defer c.cancel()
	return c.Context.Err()
}

func TestStatBlob_CanceledWhileReading(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	d := image.Build().Blobs[1].Descriptor().Digest
	dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image})
	reason := errors.New("the machine goes down")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := open(t, dir).StatBlob(cancelsLater{ctx, func() { cancel(reason) }}, d)
	if !errors.Is(err, reason) || !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("StatBlob() = %v, want %v", err, reason)
	}
	if _, err := open(t, dir).StatBlob(t.Context(), d); err != nil {
		t.Errorf("StatBlob() with another context = %v", err)
	}
}
