package copier_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// manyLayers returns an image with more blobs than a copy processes concurrently.
func manyLayers(seed string) registrytest.Image {
	image := registrytest.Image{Seed: seed}
	for i := range 60 {
		image.Layers = append(image.Layers, registrytest.Layer(fmt.Sprint(seed, " layer ", i), 1000))
	}
	return image
}

// isMount reports whether a request tries to mount a blob.
func isMount(r *http.Request) bool { return r.URL.Query().Get("mount") != "" }

func TestPrefetch_NewBlob(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	gate := make(chan struct{})
	to.On("POST", ".*").Where(isMount).Hold(gate)
	e := newEngine(t)
	done := e.start(t.Context(), e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
	from.Wait(t, func() bool { return from.Count("GET", ".*/blobs/.*") == len(pushed.Tree.Blobs) })
	close(gate)
	if r := await(t, done); r.err != nil {
		t.Fatal(r.err)
	}
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	if n := from.Count("GET", ".*/blobs/.*"); n != len(pushed.Tree.Blobs) {
		t.Errorf("source received %d GET requests for blobs, want %d", n, len(pushed.Tree.Blobs))
	}
}

// TestPrefetch_ExistingTag verifies that blobs are not prefetched if a tag already exists,
// because the destination then probably has many of the blobs.
func TestPrefetch_ExistingTag(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	old, now := manyLayers("a"), manyLayers("a")
	now.Layers[7] = registrytest.Layer("another", 1000)
	to.Push(t, "to", "1", old)
	pushed := from.Push(t, "app", "1", now)
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	// The layer and the config that references it.
	if n := from.Count("GET", ".*/blobs/.*"); n != 2 {
		t.Errorf("source received %d GET requests for blobs, want 2", n)
	}
}

func TestPrefetch_StopsAtExistingBlob(t *testing.T) {
	registrytest.NoLeaks(t)
	from, to := pair(t, registrytest.Behaviour{})
	to.Push(t, "to", "old", manyLayers("a"))
	pushed := from.Push(t, "app", "1", manyLayers("a"))
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	if report.Present.Blobs != len(pushed.Tree.Blobs) || report.Copied.Blobs != 0 {
		t.Errorf("Copy() report = %+v, want all %d blobs present", report, len(pushed.Tree.Blobs))
	}
	// Only reads that began before the first response, one for each worker.
	if n := from.Count("GET", ".*/blobs/.*"); n > 32 {
		t.Errorf("source received %d GET requests for unneeded blobs, want at most 32", n)
	}
}
