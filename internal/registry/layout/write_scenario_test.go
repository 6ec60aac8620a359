package layout_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// Each writer opens its own Layout, as independent copies do.
func TestCopy_ConcurrentWriters(t *testing.T) {
	from := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
	dir := filepath.Join(t.TempDir(), "new")
	var want []string
	var writers sync.WaitGroup
	errs := make([]error, 40)
	for i := range errs {
		tag := fmt.Sprintf("v%02d", i)
		want = append(want, tag)
		writers.Go(func() {
			var to *layout.Layout
			if to, errs[i] = layout.Create(dir); errs[i] == nil {
				_, errs[i] = copier.New(discard()).Copy(context.WithoutCancel(t.Context()), copier.Job{Source: open(t, from), Reference: "1", Destination: to, Tags: []string{tag}})
			}
		})
	}
	writers.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if got := registrytest.LayoutTags(t, dir); !slices.Equal(got, want) {
		t.Errorf("tags = %v, want %v", got, want)
	}
}

// A temporary file of another writer does not make a folder invalid.
func TestCreate_FolderWithTemporaryFile(t *testing.T) {
	dir := t.TempDir()
	registrytest.WriteFile(t, dir, ".new-XYZ", nil)
	from := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
	promote(t, copier.Job{Source: open(t, from), Reference: "1", Destination: create(t, dir), Tags: []string{"1"}})
	registrytest.Same(t, registrytest.ReadLayout(t, from, "1"), registrytest.ReadLayout(t, dir, "1"))
}

// Names that end with a tag match it only when a layout is read, not when it is written.
func TestCopy_TagBesideLongerNames(t *testing.T) {
	dir := registrytest.Layout(t, map[string]registrytest.Content{"a:1": registrytest.Image{Seed: "a"}, "b:1": registrytest.Image{Seed: "b"}})
	from := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "c"}})
	if _, err := create(t, dir).Resolve(t.Context(), "1"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("Resolve() = %v, want ErrNotFound", err)
	}
	promote(t, copier.Job{Source: open(t, from), Reference: "1", Destination: create(t, dir), Tags: []string{"1"}})
	registrytest.Same(t, registrytest.ReadLayout(t, from, "1"), registrytest.ReadLayout(t, dir, "1"))
	if got := registrytest.LayoutTags(t, dir); !slices.Equal(got, []string{"1", "a:1", "b:1"}) {
		t.Errorf("tags = %v, want 1, a:1 and b:1", got)
	}
}
