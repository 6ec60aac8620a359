package copier_test

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// mixed is a small index of all that images are made of: two platforms that
// share a layer, an attestation, and an artifact about one of them.
func mixed(seed string) registrytest.Index {
	layers := []registrytest.Blob{registrytest.Layer(seed+" base", 3000)}
	amd64 := registrytest.Image{Seed: seed, Platform: "linux/amd64", Layers: layers}
	arm64 := registrytest.Image{Seed: seed, Platform: "linux/arm64/v8", Layers: layers}
	statement := registrytest.Artifact{Seed: seed, Type: "application/vnd.in-toto+json"}.Build()
	statement.Annotations = registrytest.Attestation(seed, amd64).Annotations
	return registrytest.Index{Manifests: []registrytest.Content{
		amd64, arm64, statement, registrytest.Artifact{Subject: amd64, Layers: []registrytest.Blob{}},
	}}
}

// world is an image at a source and a destination for it, both of which want
// tokens, issue them themselves, and are watched.
type world struct {
	from, to *registrytest.Proxy
	image    registrytest.Pushed
}

func newWorld(t *testing.T) world {
	t.Helper()
	w := world{from: guarded(t), to: guarded(t)}
	w.image = w.from.Push(t, "app", "1", mixed("new"))
	return w
}

func guarded(t *testing.T) *registrytest.Proxy {
	t.Helper()
	tokens := registrytest.NewTokenServer(t)
	p := registrytest.Front(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	tokens.URL, tokens.Opaque = p.URL()+"/token", true
	return p
}

// at is the proxy of a side.
func (w world) at(side registry.Side) *registrytest.Proxy {
	return map[registry.Side]*registrytest.Proxy{registry.Source: w.from, registry.Destination: w.to}[side]
}

// source and destination are what is copied where.
func (w world) source() string      { return w.from.Ref("app", "1") }
func (w world) destination() string { return w.to.Ref("to", "1") }

// shortly is when to come again after a 429: a header has whole seconds, and the
// clock of an engine shows 2 ms before one.
var (
	shortly = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	clock   = func() time.Time { return shortly.Add(-2 * time.Millisecond) }
)

// engine is a new one, as of a process that has just begun.
func (w world) engine(t *testing.T, attempts int) engine {
	t.Helper()
	return newEngine(t, limited(4, w.from.Registry, w.to.Registry), func(o *remote.Options) {
		o.Attempts, o.Now, o.Dial = attempts, clock, registrytest.Dialer(w.from, w.to)
	})
}

// fault is what may become of a request.
type fault struct {
	method, path string // of the requests that it may happen to
	happen       func(*registrytest.Rule, *registrytest.Proxy)
	kind         error  // of the error where it always happens
	logged       string // what the engine logs when it has happened to it; "" where nobody waits for that
}

var faults = map[string]fault{
	"the connection is refused": {".*", ".*", func(r *registrytest.Rule, _ *registrytest.Proxy) { r.Refuse() }, registry.ErrUnavailable, ""},
	"a reset for an answer":     {".*", ".*", func(r *registrytest.Rule, _ *registrytest.Proxy) { r.Reset() }, registry.ErrUnavailable, ""},
	"half an answer":            {".*", ".*", func(r *registrytest.Rule, _ *registrytest.Proxy) { r.CutHalfway() }, registry.ErrUnavailable, ""},
	"cut in mid upload":         {"PUT", ".*", func(r *registrytest.Rule, _ *registrytest.Proxy) { r.CutUpload(1) }, registry.ErrUnavailable, ""},
	"503":                       {".*", ".*", replies(503, nil), registry.ErrUnavailable, ""},
	"429 and when to come again": {".*", ".*",
		replies(429, http.Header{"Retry-After": {shortly.Format(http.TimeFormat)}}), registry.ErrRateLimited, ""},
	"401 and a new challenge": {".*", "/v2/.*", func(r *registrytest.Rule, p *registrytest.Proxy) {
		replies(401, http.Header{"WWW-Authenticate": {`Bearer realm="` + p.URL() + `/token/renewed",service="registrytest"`}})(r, p)
	}, registry.ErrUnauthorized, ""},
}

func replies(status int, header http.Header) func(*registrytest.Rule, *registrytest.Proxy) {
	return func(r *registrytest.Rule, _ *registrytest.Proxy) {
		r.Reply(status, header, string(registrytest.ErrorBody("UNKNOWN", "not now")))
	}
}

// eachRequest runs a test for each fault and each request, on either side, of a
// copy to which nothing happens.
func eachRequest(t *testing.T, faults map[string]fault, test func(t *testing.T, f fault, side registry.Side, k int)) {
	undisturbed := newWorld(t)
	undisturbed.engine(t, 1).copy(t, undisturbed.source(), undisturbed.destination())
	undisturbed.eachRequest(t, faults, test)
}

// eachRequest runs a test for each fault and each request that was made in a world
// to which nothing happened.
func (w world) eachRequest(t *testing.T, faults map[string]fault, test func(t *testing.T, f fault, side registry.Side, k int)) {
	for name, f := range faults {
		for _, side := range []registry.Side{registry.Source, registry.Destination} {
			t.Run(name+" at the "+string(side), func(t *testing.T) {
				for k := range w.at(side).Count(f.method, f.path) {
					t.Run(strconv.Itoa(k), func(t *testing.T) { test(t, f, side, k) })
				}
			})
		}
	}
}

func TestCopy_RetriesEachRequest(t *testing.T) {
	t.Parallel()
	eachRequest(t, faults, func(t *testing.T, f fault, side registry.Side, k int) {
		t.Parallel()
		w := newWorld(t)
		p := w.at(side)
		rule := p.On(f.method, f.path).After(k).Times(1)
		f.happen(rule, p)
		report := w.engine(t, 2).copy(t, w.source(), w.destination())
		registrytest.Same(t, w.image.Tree, w.to.Read(t, "to", "1"))
		if rule.Taken() != 1 {
			t.Error("there was no such request")
		}
		switch {
		case errors.Is(f.kind, registry.ErrRateLimited) && report.Retries == 0:
			t.Error("the report says nothing of a retry")
		case errors.Is(f.kind, registry.ErrUnauthorized):
			wantRenewedTokens(t, p)
		}
		for what, n := range w.arrivals() {
			if n != 1 {
				t.Errorf("%s was sent %d times", what, n)
			}
		}
		w.looked(t)
	})
}

// wantRenewedTokens wants one token where a new challenge says, and at most one more to delete what was begun: the
// upload whose request was refused is given up. The token to delete serves the copy too, if it comes first.
func wantRenewedTokens(t *testing.T, p *registrytest.Proxy) {
	t.Helper()
	var copying, deleting int
	for _, r := range p.Requests() {
		switch {
		case r.Path != "/token/renewed":
		case strings.Contains(r.Query.Get("scope"), "delete"):
			deleting++
		default:
			copying++
		}
	}
	if copying > 1 || deleting > 1 || copying+deleting == 0 {
		t.Errorf("a token was asked for %d times where the new challenge says, and %d times to delete", copying, deleting)
	}
}

func TestCopy_FailAtEachRequest(t *testing.T) {
	t.Parallel()
	eachRequest(t, faults, func(t *testing.T, f fault, side registry.Side, k int) {
		t.Parallel()
		w := newWorld(t)
		old := w.to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
		p := w.at(side)
		f.happen(p.On(f.method, f.path).After(k), p)
		w.engine(t, 2).refused(t, w.source(), w.destination(), side, f.kind)
		w.rests(t)
		w.stands(t, old.Digest)
		p.Clear()
		before := uploads(w.to)
		w.engine(t, 1).copy(t, w.source(), w.destination())
		registrytest.Same(t, w.image.Tree, w.to.Read(t, "to", "1"))
		w.sentOnce(t, before)
	})
}

// rests waits until the destination has done what it was sent.
func (w world) rests(t *testing.T) {
	t.Helper()
	w.to.Wait(t, func() bool { return w.to.Active() == 0 })
}

// arrivals are how often each blob and manifest of the image was put and taken.
func (w world) arrivals() map[string]int {
	n := map[string]int{}
	for d := range w.image.Tree.Blobs {
		n[string(d)] = uploads(w.to)[string(d)]
	}
	for d := range w.image.Tree.Manifests {
		n[w.manifestPath(d)] = 0
	}
	for _, r := range w.to.Requests() {
		if _, ours := n[r.Path]; ours && r.Method == http.MethodPut && r.Status == http.StatusCreated {
			n[r.Path]++
		}
	}
	return n
}

// manifestPath is where a manifest of the image is put.
func (w world) manifestPath(d digest.Digest) string {
	if d == w.image.Digest {
		return tagPath
	}
	return "/v2/to/manifests/" + string(d)
}

// sentOnce wants no blob to be sent again that had arrived before. What a copy gave
// up in the middle of may arrive later, and is no part of that.
func (w world) sentOnce(t *testing.T, before map[string]int) {
	t.Helper()
	after := uploads(w.to)
	for d, n := range before {
		if after[d] != n {
			t.Errorf("the blob %s was sent again, although it had arrived", d)
		}
	}
}

// stands wants the tag to hold what it held, unless it was written.
func (w world) stands(t *testing.T, want digest.Digest) {
	t.Helper()
	if w.arrivals()[tagPath] > 0 {
		want = w.image.Digest
	}
	if held := w.to.Digest(t, "to", "1"); held != want {
		t.Errorf("the tag holds %s, want %s", held, want)
	}
}

// looked wants whoever pushed a manifest and heard nothing to have looked for it
// before the manifest was pushed again.
func (w world) looked(t *testing.T) {
	t.Helper()
	unanswered := map[string]bool{}
	for _, r := range w.to.Requests() {
		switch {
		case !strings.HasPrefix(r.Path, "/v2/to/manifests/"):
		case r.Method == http.MethodHead:
			unanswered[r.Path] = false
		case r.Method == http.MethodPut:
			if unanswered[r.Path] {
				t.Errorf("%s was put again without a look", r.Path)
			}
			unanswered[r.Path] = r.Status == 0
		}
	}
}
