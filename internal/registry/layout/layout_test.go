package layout_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

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
