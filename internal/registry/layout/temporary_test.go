package layout_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestWrite_RemovesAbandonedFiles(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	copyTo := func(t *testing.T, dir string) error {
		from := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "b"}})
		_, err := copier.New(discard()).Copy(t.Context(), copier.Job{Source: open(t, from), Reference: "1", Destination: create(t, dir), Tags: []string{"2"}})
		return err
	}
	for name, write := range map[string]func(t *testing.T, dir string) error{
		"copy": copyTo,
		"tag": func(t *testing.T, dir string) error {
			return create(t, dir).PutManifest(t.Context(), "2", manifestOf(t, image))
		},
		"delete_tag": func(t *testing.T, dir string) error { return create(t, dir).DeleteTag(t.Context(), "1") },
		"delete_manifest": func(t *testing.T, dir string) error {
			return create(t, dir).DeleteManifest(t.Context(), image.Build().Digest)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image})
			kept := []string{"README", "blobs/sha256/.hidden", "new-1", ".new-folder/file"}
			for _, file := range append([]string{".new-A", "blobs/sha256/.new-B", "blobs/sha512/.new-C", "blobs/other/.new-D"}, kept...) {
				registrytest.WriteFile(t, dir, file, []byte("x"))
			}
			if err := write(t, dir); err != nil {
				t.Fatal(err)
			}
			for file := range snapshot(t, dir) {
				if slices.Contains([]string{".new-A", ".new-B", ".new-C", ".new-D"}, filepath.Base(file)) {
					t.Errorf("%s was not removed", file)
				}
			}
			for _, file := range kept {
				if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
					t.Errorf("%s was removed: %v", file, err)
				}
			}
		})
	}
}

// Symbolic links that lead out of the layout are not followed: neither they nor their targets
// are removed.
func TestWrite_AbandonedFilesOutsideLayout(t *testing.T) {
	outside := t.TempDir()
	registrytest.WriteFile(t, outside, ".new-A", []byte("x"))
	dir := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
	if err := errors.Join(os.Symlink(outside, filepath.Join(dir, "blobs", "sha512")), os.Symlink(filepath.Join(outside, ".new-A"), filepath.Join(dir, ".new-B"))); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, outside)
	if err := create(t, dir).PutManifest(t.Context(), "2", manifestOf(t, registrytest.Image{Seed: "a"})); err != nil {
		t.Fatal(err)
	}
	if after := snapshot(t, outside); !maps.Equal(after, before) {
		t.Errorf("files are %v, want %v", after, before)
	}
}

// Each writer removes abandoned files before its first write. It must not remove a file of
// another writer, not even one that was just created.
func TestWrite_ConcurrentWriters(t *testing.T) {
	dir := registrytest.Layout(t, nil)
	var writers sync.WaitGroup
	errs := make([]error, 400)
	for i := range errs {
		writers.Go(func() {
			content := fmt.Appendf(nil, "content %d", i)
			opened := 0
			l, err := layout.Create(dir)
			if err == nil {
				_, err = l.PutBlob(t.Context(), registry.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}, blobOf(content, &opened))
			}
			errs[i] = err
		})
	}
	writers.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if files := snapshot(t, dir); len(files) != len(errs)+2 { // including oci-layout and index.json
		t.Errorf("%d files were written, want %d", len(files), len(errs)+2)
	}
}

func TestAbandoned_WithoutLocks(t *testing.T) {
	for unchanged, want := range map[time.Duration]bool{0: false, time.Hour: false, 23 * time.Hour: false, 24 * time.Hour: true, -time.Hour: false} {
		if got := layout.AbandonedWithoutLocks(unchanged); got != want {
			t.Errorf("abandoned after %s = %t, want %t", unchanged, got, want)
		}
	}
}
