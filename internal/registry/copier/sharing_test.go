package copier_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// uploads returns the number of completed uploads of each blob, by digest.
func uploads(p *registrytest.Proxy) map[string]int {
	n := map[string]int{}
	for _, r := range p.Requests() {
		if d := r.Query.Get("digest"); d != "" && r.Method == http.MethodPut && r.Status == http.StatusCreated {
			n[d]++
		}
	}
	return n
}

// awaitAll waits for copies and fails the test if one of them fails.
func awaitAll(t *testing.T, results []<-chan result) {
	t.Helper()
	for _, done := range results {
		if r := await(t, done); r.err != nil {
			t.Error(r.err)
		}
	}
}

// startBlockedCopies starts a copy, blocks the source while it reads the layer, and starts another
// copy that needs the same layer. release unblocks the source.
func startBlockedCopies(t *testing.T, e engine, from, to *registrytest.Proxy, layer digest.Digest, first, second string) (cancel func(), one, other <-chan result, release func()) {
	t.Helper()
	gate := make(chan struct{})
	from.On("GET", "/v2/.*/blobs/"+string(layer)).Hold(gate)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	one = e.start(ctx, e.job(t, from.Ref("app", "1"), to.Ref(first, "1")))
	from.Wait(t, func() bool { return from.Count("GET", ".*/blobs/"+string(layer)) == 1 })
	other = e.start(t.Context(), e.job(t, from.Ref("other", "1"), to.Ref(second, "2")))
	// The second copy has started to read its config, so it also processes its layers.
	from.Wait(t, func() bool { return from.Count("GET", "/v2/other/blobs/.*") == 1 })
	return cancel, one, other, func() { close(gate) }
}

// pushSharedLayer pushes two images with a common layer.
func pushSharedLayer(t *testing.T, from *registrytest.Proxy) (one, other registrytest.Pushed, layer digest.Digest) {
	t.Helper()
	shared := registrytest.Layer("shared", 50_000)
	one = from.Push(t, "app", "1", registrytest.Image{Seed: "one", Layers: []registrytest.Blob{shared}})
	other = from.Push(t, "other", "1", registrytest.Image{Seed: "other", Layers: []registrytest.Blob{shared}})
	return one, other, shared.Descriptor().Digest
}

func TestSharing_SameRepository(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	a, b, layer := pushSharedLayer(t, from)
	_, one, other, release := startBlockedCopies(t, newEngine(t), from, to, layer, "to", "to")
	release()
	first, second := await(t, one), await(t, other)
	if err := errors.Join(first.err, second.err); err != nil {
		t.Fatal(err)
	}
	registrytest.Same(t, a.Tree, to.Read(t, "to", "1"))
	registrytest.Same(t, b.Tree, to.Read(t, "to", "2"))
	if requested := mounts(to, layer); len(requested) != 1 || uploads(to)[string(layer)] != 1 {
		t.Errorf("layer had %d mount requests and %d uploads, want 1", len(requested), uploads(to)[string(layer)])
	}
	if first.report.Copied.Blobs != 2 || second.report.Copied.Blobs != 1 || second.report.Present.Blobs != 1 {
		t.Errorf("Copy() reports = %+v and %+v, want the second to have 1 blob copied and 1 present", first.report, second.report)
	}
}

func TestSharing_OtherRepository(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	a, b, layer := pushSharedLayer(t, from)
	_, one, other, release := startBlockedCopies(t, newEngine(t), from, to, layer, "to", "also")
	release()
	first, second := await(t, one), await(t, other)
	if err := errors.Join(first.err, second.err); err != nil {
		t.Fatal(err)
	}
	registrytest.Same(t, a.Tree, to.Read(t, "to", "1"))
	registrytest.Same(t, b.Tree, to.Read(t, "also", "2"))
	if requested := mounts(to, layer); !slices.Equal(requested, []string{"to", "to"}) {
		t.Errorf("mount requests for the layer = %v, want two from to", requested)
	}
	if uploads(to)[string(layer)] != 1 || second.report.Mounted.Blobs != 1 {
		t.Errorf("layer was uploaded %d times and the second report = %+v, want 1 upload and 1 mount", uploads(to)[string(layer)], second.report)
	}
	if second.report.WaitedFor != registry.WaitShared || second.report.LongestWait <= 0 {
		t.Errorf("longest wait of the second copy = %s for %q, want a wait for the shared blob", second.report.LongestWait, second.report.WaitedFor)
	}
}

// assertUnaffected fails the test unless a copy succeeds as if the other copy did not exist.
func assertUnaffected(t *testing.T, done <-chan result, to *registrytest.Proxy, repo string, image registrytest.Pushed) {
	t.Helper()
	if r := await(t, done); r.err != nil {
		t.Fatal(r.err)
	}
	registrytest.Same(t, image.Tree, to.Read(t, repo, "2"))
	if n := to.Count("PUT", "/v2/"+repo+"/manifests/2"); n != 1 {
		t.Errorf("manifest was pushed %d times, want 1", n)
	}
}

func TestSharing_FailedCopy(t *testing.T) {
	t.Parallel()
	for _, second := range []string{"to", "also"} {
		t.Run("first_canceled_"+second, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			_, b, layer := pushSharedLayer(t, from)
			cancel, one, other, release := startBlockedCopies(t, newEngine(t), from, to, layer, "to", second)
			cancel()
			if r := await(t, one); !errors.Is(r.err, context.Canceled) {
				t.Errorf("canceled Copy() error = %v, want context.Canceled", r.err)
			}
			release()
			assertUnaffected(t, other, to, second, b)
		})
		t.Run("first_failed_"+second, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			_, b, layer := pushSharedLayer(t, from)
			to.On("PUT", "/v2/.*/blobs/.*").Times(1).Where(func(r *http.Request) bool { return r.URL.Query().Get("digest") == string(layer) }).
				Reply(http.StatusForbidden, nil, string(registrytest.ErrorBody("DENIED", "not you")))
			_, one, other, release := startBlockedCopies(t, newEngine(t), from, to, layer, "to", second)
			release()
			assertError(t, await(t, one).err, registry.Destination, registry.ErrDenied)
			assertUnaffected(t, other, to, second, b)
		})
		t.Run("second_canceled_"+second, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			_, b, layer := pushSharedLayer(t, from)
			gate := make(chan struct{})
			from.On("GET", "/v2/.*/blobs/"+string(layer)).Hold(gate)
			e := newEngine(t)
			one := e.start(t.Context(), e.job(t, from.Ref("other", "1"), to.Ref("to", "1")))
			from.Wait(t, func() bool { return from.Count("GET", ".*/blobs/"+string(layer)) == 1 })
			ctx, cancel := context.WithCancel(t.Context())
			other := e.start(ctx, e.job(t, from.Ref("app", "1"), to.Ref(second, "2")))
			// Both configs are uploaded, so the second copy only waits for the layer.
			to.Wait(t, func() bool { return len(uploads(to)) == 2 })
			cancel()
			r := await(t, other)
			if e := assertError(t, r.err, registry.Destination, registry.ErrUnavailable); !errors.Is(e, context.Canceled) {
				t.Errorf("canceled Copy() error = %v, want context.Canceled", e)
			}
			close(gate)
			if r := await(t, one); r.err != nil {
				t.Fatal(r.err)
			}
			registrytest.Same(t, b.Tree, to.Read(t, "to", "1"))
		})
	}
}

func TestSharing_TwentyCopies(t *testing.T) {
	t.Parallel()
	const limit = 6
	from, to := registrytest.Intercept(t, registrytest.V3(t)), registrytest.Intercept(t, registrytest.V2(t))
	e := newEngine(t, withMaxRequests(limit, from.Registry, to.Registry))
	base, runtime := registrytest.Layer("base", 300_000), registrytest.Layer("runtime", 40_000)
	var pushed []registrytest.Pushed
	blobs := map[digest.Digest]bool{}
	for i := range 20 {
		seed := fmt.Sprint("app ", i)
		image := registrytest.Image{Seed: seed, Layers: []registrytest.Blob{base, runtime, registrytest.Layer(seed, 5000)}}
		pushed = append(pushed, from.Push(t, fmt.Sprintf("app-%d", i), "1", image))
		for d := range pushed[i].Tree.Blobs {
			blobs[d] = true
		}
	}
	var results []<-chan result
	for i := range pushed {
		// Use four repositories, so that blobs are both shared and mounted.
		results = append(results, e.start(t.Context(), e.job(t, from.Ref(fmt.Sprintf("app-%d", i), "1"), to.Ref(fmt.Sprintf("team-%d/app", i%4), fmt.Sprint(i)))))
	}
	awaitAll(t, results)
	for i := range pushed {
		registrytest.Same(t, pushed[i].Tree, to.Read(t, fmt.Sprintf("team-%d/app", i%4), fmt.Sprint(i)))
	}
	sent := uploads(to)
	for d := range blobs {
		if sent[string(d)] != 1 {
			t.Errorf("blob %s was uploaded %d times, want 1", d, sent[string(d)])
		}
	}
	if from.Peak() > limit || to.Peak() > limit {
		t.Errorf("peaks of concurrent requests = %d and %d, want at most %d", from.Peak(), to.Peak(), limit)
	}
}

func TestSharing_OppositeDirections(t *testing.T) {
	t.Parallel()
	const limit = 2
	left, right := pair(t, registrytest.Behaviour{})
	e := newEngine(t, withMaxRequests(limit, left.Registry, right.Registry))
	var results []<-chan result
	trees := map[*registrytest.Proxy][]registrytest.Pushed{}
	for i := range 4 {
		for from, to := range map[*registrytest.Proxy]*registrytest.Proxy{left: right, right: left} {
			seed := fmt.Sprint(from.Addr, i)
			var layers []registrytest.Blob
			for k := range 4 {
				layers = append(layers, registrytest.Layer(fmt.Sprint(seed, k), 100_000))
			}
			repo := fmt.Sprintf("from-%d", i)
			trees[to] = append(trees[to], from.Push(t, repo, "1", registrytest.Image{Seed: seed, Layers: layers}))
			results = append(results, e.start(t.Context(), e.job(t, from.Ref(repo, "1"), to.Ref(fmt.Sprintf("to-%d", i), "1"))))
		}
	}
	awaitAll(t, results)
	for to, pushed := range trees {
		for i := range pushed {
			registrytest.Same(t, pushed[i].Tree, to.Read(t, fmt.Sprintf("to-%d", i), "1"))
		}
	}
	if left.Peak() > limit || right.Peak() > limit {
		t.Errorf("peaks of concurrent requests = %d and %d, want at most %d", left.Peak(), right.Peak(), limit)
	}
}
