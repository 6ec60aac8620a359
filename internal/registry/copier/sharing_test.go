package copier_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// uploads are how often each blob was uploaded whole, by digest.
func uploads(p *registrytest.Proxy) map[string]int {
	n := map[string]int{}
	for _, r := range p.Requests() {
		if d := r.Query.Get("digest"); d != "" && r.Method == http.MethodPut && r.Status == http.StatusCreated {
			n[d]++
		}
	}
	return n
}

// mounts are the repositories that a blob was asked to be mounted from.
func mounts(p *registrytest.Proxy, d digest.Digest) []string {
	var from []string
	for _, r := range p.Requests() {
		if r.Query.Get("mount") == string(d) {
			from = append(from, r.Query.Get("from"))
		}
	}
	return from
}

// succeed wants copies that were started to succeed.
func succeed(t *testing.T, ends []<-chan result) {
	t.Helper()
	for _, ended := range ends {
		if r := await(t, ended); r.err != nil {
			t.Error(r.err)
		}
	}
}

func TestWithinARegistryNoBlobByteMoves(t *testing.T) {
	t.Parallel()
	for name, reg := range map[string]*registrytest.Registry{"v3": registrytest.V3(t), "2.8.3": registrytest.V2(t)} {
		t.Run(name, func(t *testing.T) {
			p := registrytest.Intercept(t, reg)
			pushed := p.Push(t, "from/app", "1", registrytest.MultiArch("a"))
			report := newEngine(t).copy(t, p.Ref("from/app", "1"), p.Ref("to/app", "1"))
			registrytest.Same(t, pushed.Tree, p.Read(t, "to/app", "1"))
			if gets, puts := p.Count("GET", ".*/blobs/.*"), len(uploads(p)); gets != 0 || puts != 0 {
				t.Errorf("%d blobs were fetched and %d uploaded", gets, puts)
			}
			if report.Mounted.Blobs != len(pushed.Tree.Blobs) || report.Copied.Blobs != 0 || report.Present.Blobs != 0 {
				t.Errorf("the report says %+v", report)
			}
			if n := p.Count("POST", ".*"); n != len(pushed.Tree.Blobs) {
				t.Errorf("%d requests to mount %d blobs", n, len(pushed.Tree.Blobs))
			}
		})
	}
}

func TestABlobThatIsNotMountedIsUploadedAlone(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 401, 403, 404, 405, 500, 502, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			p := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
			pushed := p.Push(t, "from", "1", registrytest.MultiArch("a"))
			refused := string(pushed.Manifests[0].Blobs[1].Descriptor().Digest)
			p.On("POST", ".*").Where(func(r *http.Request) bool { return r.URL.Query().Get("mount") == refused }).
				Reply(status, nil, string(registrytest.ErrorBody("DENIED", "no mounting of this one")))
			report := newEngine(t).copy(t, p.Ref("from", "1"), p.Ref("to", "1"))
			registrytest.Same(t, pushed.Tree, p.Read(t, "to", "1"))
			if n := uploads(p); len(n) != 1 || n[refused] != 1 {
				t.Errorf("uploaded were %v", n)
			}
			if report.Copied.Blobs != 1 || report.Mounted.Blobs != len(pushed.Tree.Blobs)-1 {
				t.Errorf("the report says %+v", report)
			}
		})
	}
}

func TestAPairThatKeepsRefusingToMountIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	p := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{RefuseMount: http.StatusForbidden}))
	e := newEngine(t)
	asked := func() int {
		return len(slices.DeleteFunc(p.Requests(), func(r registrytest.Request) bool { return r.Query.Get("from") != "from" }))
	}
	first := p.Push(t, "from", "1", registrytest.MultiArch("first"))
	e.copy(t, p.Ref("from", "1"), p.Ref("to", "1"))
	registrytest.Same(t, first.Tree, p.Read(t, "to", "1"))
	if asked() == 0 {
		t.Error("it was never asked at all")
	}
	p.Forget()
	second := p.Push(t, "from", "2", registrytest.MultiArch("second"))
	e.copy(t, p.Ref("from", "2"), p.Ref("to", "2"))
	registrytest.Same(t, second.Tree, p.Read(t, "to", "2"))
	if n := asked(); n != 0 {
		t.Errorf("it was asked to mount %d times more", n)
	}
}

// held starts one copy, holds its layer up on the way from the source, and
// starts another that needs the same layer.
func held(t *testing.T, e engine, from, to *registrytest.Proxy, layer digest.Digest, first, second string) (cancel func(), one, other <-chan result, release func()) {
	t.Helper()
	gate := make(chan struct{})
	from.On("GET", "/v2/.*/blobs/"+string(layer)).Hold(gate)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	one = e.start(ctx, e.job(t, from.Ref("app", "1"), to.Ref(first, "1")))
	from.Wait(t, func() bool { return from.Count("GET", ".*/blobs/"+string(layer)) == 1 })
	other = e.start(t.Context(), e.job(t, from.Ref("other", "1"), to.Ref(second, "2")))
	// Its own configuration is there: it is at the layers too.
	from.Wait(t, func() bool { return from.Count("GET", "/v2/other/blobs/.*") == 1 })
	return cancel, one, other, func() { close(gate) }
}

// sharing pushes two images with a layer in common.
func sharing(t *testing.T, from *registrytest.Proxy) (one, other registrytest.Pushed, layer digest.Digest) {
	t.Helper()
	shared := registrytest.Layer("shared", 50_000)
	one = from.Push(t, "app", "1", registrytest.Image{Seed: "one", Layers: []registrytest.Blob{shared}})
	other = from.Push(t, "other", "1", registrytest.Image{Seed: "other", Layers: []registrytest.Blob{shared}})
	return one, other, shared.Descriptor().Digest
}

func TestCopiesIntoOneRepositoryShareAnUpload(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	a, b, layer := sharing(t, from)
	_, one, other, release := held(t, newEngine(t), from, to, layer, "to", "to")
	release()
	first, second := await(t, one), await(t, other)
	if err := errors.Join(first.err, second.err); err != nil {
		t.Fatal(err)
	}
	registrytest.Same(t, a.Tree, to.Read(t, "to", "1"))
	registrytest.Same(t, b.Tree, to.Read(t, "to", "2"))
	if asked := mounts(to, layer); len(asked) != 1 || uploads(to)[string(layer)] != 1 {
		t.Errorf("the layer was offered %d times and uploaded %d times", len(asked), uploads(to)[string(layer)])
	}
	if first.report.Copied.Blobs != 2 || second.report.Copied.Blobs != 1 || second.report.Present.Blobs != 1 {
		t.Errorf("the reports say %+v and %+v", first.report, second.report)
	}
}

func TestACopyIntoAnotherRepositoryWaitsAndMounts(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	a, b, layer := sharing(t, from)
	_, one, other, release := held(t, newEngine(t), from, to, layer, "to", "also")
	release()
	first, second := await(t, one), await(t, other)
	if err := errors.Join(first.err, second.err); err != nil {
		t.Fatal(err)
	}
	registrytest.Same(t, a.Tree, to.Read(t, "to", "1"))
	registrytest.Same(t, b.Tree, to.Read(t, "also", "2"))
	if asked := mounts(to, layer); !slices.Equal(asked, []string{"to", "to"}) {
		t.Errorf("the layer was to be mounted from %v", asked)
	}
	if uploads(to)[string(layer)] != 1 || second.report.Mounted.Blobs != 1 {
		t.Errorf("the layer was uploaded %d times; the second report says %+v", uploads(to)[string(layer)], second.report)
	}
}

// unhurt wants a copy to succeed as if there were no other.
func unhurt(t *testing.T, ended <-chan result, to *registrytest.Proxy, repo string, image registrytest.Pushed) {
	t.Helper()
	if r := await(t, ended); r.err != nil {
		t.Fatal(r.err)
	}
	registrytest.Same(t, image.Tree, to.Read(t, repo, "2"))
	if n := to.Count("PUT", "/v2/"+repo+"/manifests/2"); n != 1 {
		t.Errorf("the manifest was pushed %d times", n)
	}
}

func TestWhoWaitsForABlobIsNotHurtByWhoFails(t *testing.T) {
	t.Parallel()
	for _, second := range []string{"to", "also"} {
		t.Run("cancelled, "+second, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			_, b, layer := sharing(t, from)
			cancel, one, other, release := held(t, newEngine(t), from, to, layer, "to", second)
			cancel()
			if r := await(t, one); !errors.Is(r.err, context.Canceled) {
				t.Errorf("the cancelled copy ended with %v", r.err)
			}
			release()
			unhurt(t, other, to, second, b)
		})
		t.Run("failed, "+second, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			_, b, layer := sharing(t, from)
			to.On("PUT", "/v2/.*/blobs/.*").Times(1).Where(func(r *http.Request) bool { return r.URL.Query().Get("digest") == string(layer) }).
				Reply(http.StatusForbidden, nil, string(registrytest.ErrorBody("DENIED", "not you")))
			_, one, other, release := held(t, newEngine(t), from, to, layer, "to", second)
			release()
			failure(t, await(t, one).err, registry.Destination, registry.ErrDenied)
			unhurt(t, other, to, second, b)
		})
		t.Run("who waits is cancelled, "+second, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			_, b, layer := sharing(t, from)
			gate := make(chan struct{})
			from.On("GET", "/v2/.*/blobs/"+string(layer)).Hold(gate)
			e := newEngine(t)
			one := e.start(t.Context(), e.job(t, from.Ref("other", "1"), to.Ref("to", "1")))
			from.Wait(t, func() bool { return from.Count("GET", ".*/blobs/"+string(layer)) == 1 })
			ctx, cancel := context.WithCancel(t.Context())
			other := e.start(ctx, e.job(t, from.Ref("app", "1"), to.Ref(second, "2")))
			from.Wait(t, func() bool { return from.Count("GET", "/v2/app/blobs/.*") == 1 })
			cancel()
			r := await(t, other)
			if e := failure(t, r.err, registry.Destination, registry.ErrUnavailable); !errors.Is(e, context.Canceled) {
				t.Errorf("the cancelled copy ended with %v", e)
			}
			close(gate)
			if r := await(t, one); r.err != nil {
				t.Fatal(r.err)
			}
			registrytest.Same(t, b.Tree, to.Read(t, "to", "1"))
		})
	}
}

func TestTwentyCopiesSendEachBlobOnce(t *testing.T) {
	t.Parallel()
	const limit = 6
	from, to := registrytest.Intercept(t, registrytest.V3(t)), registrytest.Intercept(t, registrytest.V2(t))
	e := newEngine(t, limited(limit, from.Registry, to.Registry))
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
	var ends []<-chan result
	for i := range pushed {
		// Four repositories, so that blobs are shared and mounted.
		ends = append(ends, e.start(t.Context(), e.job(t, from.Ref(fmt.Sprintf("app-%d", i), "1"), to.Ref(fmt.Sprintf("team-%d/app", i%4), fmt.Sprint(i)))))
	}
	succeed(t, ends)
	for i := range pushed {
		registrytest.Same(t, pushed[i].Tree, to.Read(t, fmt.Sprintf("team-%d/app", i%4), fmt.Sprint(i)))
	}
	sent := uploads(to)
	for d := range blobs {
		if sent[string(d)] != 1 {
			t.Errorf("%s was uploaded %d times", d, sent[string(d)])
		}
	}
	if from.Peak() > limit || to.Peak() > limit {
		t.Errorf("at most %d and %d requests were under way, and %d may be", from.Peak(), to.Peak(), limit)
	}
}

func TestCopiesInOppositeDirectionsDoNotBlockEachOther(t *testing.T) {
	t.Parallel()
	const limit = 2
	left, right := pair(t, registrytest.Behaviour{})
	e := newEngine(t, limited(limit, left.Registry, right.Registry))
	var ends []<-chan result
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
			ends = append(ends, e.start(t.Context(), e.job(t, from.Ref(repo, "1"), to.Ref(fmt.Sprintf("to-%d", i), "1"))))
		}
	}
	succeed(t, ends)
	for to, pushed := range trees {
		for i := range pushed {
			registrytest.Same(t, pushed[i].Tree, to.Read(t, fmt.Sprintf("to-%d", i), "1"))
		}
	}
	if left.Peak() > limit || right.Peak() > limit {
		t.Errorf("at most %d and %d requests were under way, and %d may be", left.Peak(), right.Peak(), limit)
	}
}

func TestCopiesWithinAHostThatDoesNotMountDoNotBlock(t *testing.T) {
	t.Parallel()
	const limit = 2
	p := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{RefuseMount: http.StatusMethodNotAllowed}))
	e := newEngine(t, limited(limit, p.Registry))
	var ends []<-chan result
	var pushed []registrytest.Pushed
	for i := range 4 {
		var layers []registrytest.Blob
		for k := range 4 {
			layers = append(layers, registrytest.Layer(fmt.Sprint(i, k), 100_000))
		}
		pushed = append(pushed, p.Push(t, fmt.Sprintf("from-%d", i), "1", registrytest.Image{Seed: fmt.Sprint(i), Layers: layers}))
		ends = append(ends, e.start(t.Context(), e.job(t, p.Ref(fmt.Sprintf("from-%d", i), "1"), p.Ref(fmt.Sprintf("to-%d", i), "1"))))
	}
	succeed(t, ends)
	for i := range pushed {
		registrytest.Same(t, pushed[i].Tree, p.Read(t, fmt.Sprintf("to-%d", i), "1"))
	}
	if p.Peak() > limit {
		t.Errorf("at most %d requests were under way, and %d may be", p.Peak(), limit)
	}
}

func TestABlobOfTheSameHostIsMountedFromItsSource(t *testing.T) {
	t.Parallel()
	// It waits for nobody who is about to bring the blob to a third repository.
	p := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	elsewhere := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	one, _, layer := sharing(t, elsewhere)
	p.Push(t, "app", "1", registrytest.Image{Seed: "one", Layers: []registrytest.Blob{registrytest.Layer("shared", 50_000)}})
	gate := make(chan struct{})
	elsewhere.On("GET", "/v2/.*/blobs/"+string(layer)).Hold(gate)
	e := newEngine(t)
	slow := e.start(t.Context(), e.job(t, elsewhere.Ref("other", "1"), p.Ref("third", "1")))
	elsewhere.Wait(t, func() bool { return elsewhere.Count("GET", ".*/blobs/"+string(layer)) == 1 })
	e.copy(t, p.Ref("app", "1"), p.Ref("to", "1"))
	registrytest.Same(t, one.Tree, p.Read(t, "to", "1"))
	if asked := mounts(p, layer); !slices.Contains(asked, "app") || strings.Count(strings.Join(asked, " "), "app") != 1 {
		t.Errorf("the layer was to be mounted from %v", asked)
	}
	close(gate)
	if r := await(t, slow); r.err != nil {
		t.Fatal(r.err)
	}
}
