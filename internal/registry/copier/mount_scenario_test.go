package copier_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// mounts returns the repositories from which the client tried to mount a blob.
func mounts(p *registrytest.Proxy, d digest.Digest) []string {
	var from []string
	for _, r := range p.Requests() {
		if r.Query.Get("mount") == string(d) {
			from = append(from, r.Query.Get("from"))
		}
	}
	return from
}

func TestMount_SameRegistry(t *testing.T) {
	t.Parallel()
	for name, reg := range map[string]*registrytest.Registry{"v3": registrytest.V3(t), "v2": registrytest.V2(t)} {
		t.Run(name, func(t *testing.T) {
			p := registrytest.Intercept(t, reg)
			pushed := p.Push(t, "from/app", "1", registrytest.MultiArch("a"))
			report := newEngine(t).copy(t, p.Ref("from/app", "1"), p.Ref("to/app", "1"))
			registrytest.Same(t, pushed.Tree, p.Read(t, "to/app", "1"))
			if gets, puts := p.Count("GET", ".*/blobs/.*"), len(uploads(p)); gets != 0 || puts != 0 {
				t.Errorf("%d blobs were fetched and %d uploaded, want 0", gets, puts)
			}
			if report.Mounted.Blobs != len(pushed.Tree.Blobs) || report.Copied.Blobs != 0 || report.Present.Blobs != 0 {
				t.Errorf("Copy() report = %+v, want all blobs mounted", report)
			}
			if n := p.Count("POST", ".*"); n != len(pushed.Tree.Blobs) {
				t.Errorf("registry received %d POST requests, want %d", n, len(pushed.Tree.Blobs))
			}
		})
	}
}

func TestMount_RejectedBlob(t *testing.T) {
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
				t.Errorf("uploads = %v, want only %s", n, refused)
			}
			if report.Copied.Blobs != 1 || report.Mounted.Blobs != len(pushed.Tree.Blobs)-1 {
				t.Errorf("Copy() report = %+v, want 1 blob copied and the others mounted", report)
			}
		})
	}
}

func TestMount_StopsAfterRepeatedRejection(t *testing.T) {
	t.Parallel()
	p := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{RefuseMount: http.StatusForbidden}))
	e := newEngine(t)
	mountRequests := func() int {
		return len(slices.DeleteFunc(p.Requests(), func(r registrytest.Request) bool { return r.Query.Get("from") != "from" }))
	}
	first := p.Push(t, "from", "1", registrytest.MultiArch("first"))
	e.copy(t, p.Ref("from", "1"), p.Ref("to", "1"))
	registrytest.Same(t, first.Tree, p.Read(t, "to", "1"))
	if mountRequests() == 0 {
		t.Error("registry received no mount requests, want at least 1")
	}
	p.Forget()
	second := p.Push(t, "from", "2", registrytest.MultiArch("second"))
	e.copy(t, p.Ref("from", "2"), p.Ref("to", "2"))
	registrytest.Same(t, second.Tree, p.Read(t, "to", "2"))
	if n := mountRequests(); n != 0 {
		t.Errorf("registry received %d more mount requests, want 0", n)
	}
}

func TestMount_FromSource(t *testing.T) {
	t.Parallel()
	// The copy does not wait for another copy that uploads the blob to a third repository.
	p := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	otherSource := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	one, _, layer := pushSharedLayer(t, otherSource)
	p.Push(t, "app", "1", registrytest.Image{Seed: "one", Layers: []registrytest.Blob{registrytest.Layer("shared", 50_000)}})
	gate := make(chan struct{})
	otherSource.On("GET", "/v2/.*/blobs/"+string(layer)).Hold(gate)
	e := newEngine(t)
	slow := e.start(t.Context(), e.job(t, otherSource.Ref("other", "1"), p.Ref("third", "1")))
	otherSource.Wait(t, func() bool { return otherSource.Count("GET", ".*/blobs/"+string(layer)) == 1 })
	e.copy(t, p.Ref("app", "1"), p.Ref("to", "1"))
	registrytest.Same(t, one.Tree, p.Read(t, "to", "1"))
	if requested := mounts(p, layer); !slices.Contains(requested, "app") || strings.Count(strings.Join(requested, " "), "app") != 1 {
		t.Errorf("mount requests for the layer = %v, want one from app", requested)
	}
	close(gate)
	if r := await(t, slow); r.err != nil {
		t.Fatal(r.err)
	}
}

// TestMount_UnsupportedByRegistry verifies that existing blobs are not uploaded to a registry
// that starts an upload in response to every mount request.
func TestMount_UnsupportedByRegistry(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{BlindMount: true})
	var existing, missing []registrytest.Blob
	for i := range 4 {
		existing = append(existing, registrytest.Layer(fmt.Sprint("there ", i), 1<<20+int64(i)))
		missing = append(missing, registrytest.Layer(fmt.Sprint("missing ", i), 1<<20+int64(i)))
	}
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a", Layers: slices.Concat(existing, missing)})
	for _, b := range existing {
		to.PushBlob(t, "to", b)
	}
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	sent := map[string]int{string(pushed.Blobs[0].Descriptor().Digest): 1} // the config
	for _, b := range missing {
		sent[string(b.Descriptor().Digest)] = 1
	}
	if got := uploads(to); !maps.Equal(got, sent) {
		t.Errorf("uploads = %v, want %v", got, sent)
	}
	if report.Present.Blobs != len(existing) || report.Copied.Blobs != len(sent) || report.Mounted.Blobs != 0 {
		t.Errorf("Copy() report = %+v, want %d blobs present and %d copied", report, len(existing), len(sent))
	}
}

func TestMount_ConcurrentCopiesWithoutMount(t *testing.T) {
	t.Parallel()
	const limit = 2
	p := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{RefuseMount: http.StatusMethodNotAllowed}))
	e := newEngine(t, withMaxRequests(limit, p.Registry))
	var results []<-chan result
	var pushed []registrytest.Pushed
	for i := range 4 {
		var layers []registrytest.Blob
		for k := range 4 {
			layers = append(layers, registrytest.Layer(fmt.Sprint(i, k), 100_000))
		}
		pushed = append(pushed, p.Push(t, fmt.Sprintf("from-%d", i), "1", registrytest.Image{Seed: fmt.Sprint(i), Layers: layers}))
		results = append(results, e.start(t.Context(), e.job(t, p.Ref(fmt.Sprintf("from-%d", i), "1"), p.Ref(fmt.Sprintf("to-%d", i), "1"))))
	}
	awaitAll(t, results)
	for i := range pushed {
		registrytest.Same(t, pushed[i].Tree, p.Read(t, fmt.Sprintf("to-%d", i), "1"))
	}
	if p.Peak() > limit {
		t.Errorf("peak of concurrent requests = %d, want at most %d", p.Peak(), limit)
	}
}
