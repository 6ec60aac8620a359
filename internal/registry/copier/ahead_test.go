package copier_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// manyLayers is an image whose layers, and so its blobs, are more than a copy
// does at a time.
func manyLayers(seed string) registrytest.Image {
	image := registrytest.Image{Seed: seed}
	for i := range 60 {
		image.Layers = append(image.Layers, registrytest.Layer(fmt.Sprint(seed, " layer ", i), 1000))
	}
	return image
}

// isMount says whether a request asks whether a blob is there.
func isMount(r *http.Request) bool { return r.URL.Query().Get("mount") != "" }

func TestPrefetch_NewBlob(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	gate := make(chan struct{})
	to.On("POST", ".*").Where(isMount).Hold(gate)
	e := newEngine(t)
	ended := e.start(t.Context(), e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
	from.Wait(t, func() bool { return from.Count("GET", ".*/blobs/.*") == len(pushed.Tree.Blobs) })
	close(gate)
	if r := await(t, ended); r.err != nil {
		t.Fatal(r.err)
	}
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	if n := from.Count("GET", ".*/blobs/.*"); n != len(pushed.Tree.Blobs) {
		t.Errorf("%d reads of %d blobs", n, len(pushed.Tree.Blobs))
	}
}

// A tag that holds something is probably about to hold much of the same.
func TestPrefetch_ExistingTag(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	old, now := manyLayers("a"), manyLayers("a")
	now.Layers[7] = registrytest.Layer("another", 1000)
	to.Push(t, "to", "1", old)
	pushed := from.Push(t, "app", "1", now)
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	// The layer, and the configuration that names it.
	if n := from.Count("GET", ".*/blobs/.*"); n != 2 {
		t.Errorf("%d blobs were read, want 2", n)
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
		t.Errorf("the report says %+v", report)
	}
	// What was begun before the first answer: as much as a copy does at a time.
	if n := from.Count("GET", ".*/blobs/.*"); n > 32 {
		t.Errorf("%d blobs were read in vain, want at most 32", n)
	}
}
