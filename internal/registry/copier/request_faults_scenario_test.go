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

// mixedIndex returns a small index with every kind of content: two platforms that share a
// layer, an attestation, and an artifact with one of the platforms as its subject.
func mixedIndex(seed string) registrytest.Index {
	layers := []registrytest.Blob{registrytest.Layer(seed+" base", 3000)}
	amd64 := registrytest.Image{Seed: seed, Platform: "linux/amd64", Layers: layers}
	arm64 := registrytest.Image{Seed: seed, Platform: "linux/arm64/v8", Layers: layers}
	statement := registrytest.Artifact{Seed: seed, Type: "application/vnd.in-toto+json"}.Build()
	statement.Annotations = registrytest.Attestation(seed, amd64).Annotations
	return registrytest.Index{Manifests: []registrytest.Content{
		amd64, arm64, statement, registrytest.Artifact{Subject: amd64, Layers: []registrytest.Blob{}},
	}}
}

// fixture is an image at a source, and a destination for it. Both registries require tokens
// and issue them themselves.
type fixture struct {
	from, to *registrytest.Proxy
	image    registrytest.Pushed
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	w := fixture{from: newAuthProxy(t), to: newAuthProxy(t)}
	w.image = w.from.Push(t, "app", "1", mixedIndex("new"))
	return w
}

func newAuthProxy(t *testing.T) *registrytest.Proxy {
	t.Helper()
	tokens := registrytest.NewTokenServer(t)
	p := registrytest.Front(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	tokens.URL, tokens.Opaque = p.URL()+"/token", true
	return p
}

// side returns the proxy of a side.
func (w fixture) side(side registry.Side) *registrytest.Proxy {
	return map[registry.Side]*registrytest.Proxy{registry.Source: w.from, registry.Destination: w.to}[side]
}

// source and destination return the references of the copy.
func (w fixture) source() string      { return w.from.Ref("app", "1") }
func (w fixture) destination() string { return w.to.Ref("to", "1") }

// retryAt is the Retry-After time of a 429 response. The header has a resolution of one second,
// so the clock of an engine is 2 ms before a full second.
var (
	retryAt = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	clock   = func() time.Time { return retryAt.Add(-2 * time.Millisecond) }
)

// engine returns a new engine, like that of a new process.
func (w fixture) engine(t *testing.T, attempts int) engine {
	t.Helper()
	return newEngine(t, withMaxRequests(4, w.from.Registry, w.to.Registry), func(o *remote.Options) {
		o.Attempts, o.Now, o.Dial = attempts, clock, registrytest.Dialer(w.from, w.to)
	})
}

// fault describes how a request can fail.
type fault struct {
	method, path string // of the requests that can fail this way
	inject       func(*registrytest.Rule, *registrytest.Proxy)
	kind         error  // of the error if every such request fails
	logged       string // log text to wait for after the fault, or ""
}

var faults = map[string]fault{
	"connection_refused":  {".*", ".*", func(r *registrytest.Rule, _ *registrytest.Proxy) { r.Refuse() }, registry.ErrUnavailable, ""},
	"connection_reset":    {".*", ".*", func(r *registrytest.Rule, _ *registrytest.Proxy) { r.Reset() }, registry.ErrUnavailable, ""},
	"truncated_response":  {".*", ".*", func(r *registrytest.Rule, _ *registrytest.Proxy) { r.CutHalfway() }, registry.ErrUnavailable, ""},
	"truncated_upload":    {"PUT", ".*", func(r *registrytest.Rule, _ *registrytest.Proxy) { r.CutUpload(1) }, registry.ErrUnavailable, ""},
	"service_unavailable": {".*", ".*", respondWith(503, nil), registry.ErrUnavailable, ""},
	"rate_limited": {".*", ".*",
		respondWith(429, http.Header{"Retry-After": {retryAt.Format(http.TimeFormat)}}), registry.ErrRateLimited, ""},
	"new_challenge": {".*", "/v2/.*", func(r *registrytest.Rule, p *registrytest.Proxy) {
		respondWith(401, http.Header{"WWW-Authenticate": {`Bearer realm="` + p.URL() + `/token/renewed",service="registrytest"`}})(r, p)
	}, registry.ErrUnauthorized, ""},
}

func respondWith(status int, header http.Header) func(*registrytest.Rule, *registrytest.Proxy) {
	return func(r *registrytest.Rule, _ *registrytest.Proxy) {
		r.Reply(status, header, string(registrytest.ErrorBody("UNKNOWN", "not now")))
	}
}

// forEachRequest runs a test for each fault and each request, to either side, of a successful
// copy.
func forEachRequest(t *testing.T, faults map[string]fault, test func(t *testing.T, f fault, side registry.Side, k int)) {
	clean := newFixture(t)
	clean.engine(t, 1).copy(t, clean.source(), clean.destination())
	clean.forEachRequest(t, faults, test)
}

// forEachRequest runs a test for each fault and each request that was sent to the registries
// of the fixture.
func (w fixture) forEachRequest(t *testing.T, faults map[string]fault, test func(t *testing.T, f fault, side registry.Side, k int)) {
	for name, f := range faults {
		for _, side := range []registry.Side{registry.Source, registry.Destination} {
			t.Run(name+"_"+string(side), func(t *testing.T) {
				for k := range w.side(side).Count(f.method, f.path) {
					t.Run(strconv.Itoa(k), func(t *testing.T) { test(t, f, side, k) })
				}
			})
		}
	}
}

func TestCopy_RetriesEachRequest(t *testing.T) {
	t.Parallel()
	forEachRequest(t, faults, func(t *testing.T, f fault, side registry.Side, k int) {
		t.Parallel()
		w := newFixture(t)
		p := w.side(side)
		rule := p.On(f.method, f.path).After(k).Times(1)
		f.inject(rule, p)
		report := w.engine(t, 2).copy(t, w.source(), w.destination())
		registrytest.Same(t, w.image.Tree, w.to.Read(t, "to", "1"))
		if rule.Taken() != 1 {
			t.Errorf("%d requests failed, want 1", rule.Taken())
		}
		switch {
		case errors.Is(f.kind, registry.ErrRateLimited) && report.Retries == 0:
			t.Error("Copy() report has 0 retries, want at least 1")
		case errors.Is(f.kind, registry.ErrUnauthorized):
			assertRenewedTokens(t, p)
		}
		for what, n := range w.pushCounts() {
			if n != 1 {
				t.Errorf("%s was pushed %d times, want 1", what, n)
			}
		}
		w.assertCheckedBeforeRepush(t)
	})
}

// assertRenewedTokens fails the test unless the realm of the new challenge issued at least one
// token, and at most one to copy and one to delete. The client needs the latter to cancel the
// upload whose request was rejected. If it gets that token first, the copy uses it too.
func assertRenewedTokens(t *testing.T, p *registrytest.Proxy) {
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
		t.Errorf("realm of the new challenge issued %d tokens to copy and %d to delete, want at most 1 of each and at least 1", copying, deleting)
	}
}

func TestCopy_FailAtEachRequest(t *testing.T) {
	t.Parallel()
	forEachRequest(t, faults, func(t *testing.T, f fault, side registry.Side, k int) {
		t.Parallel()
		w := newFixture(t)
		old := w.to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
		p := w.side(side)
		f.inject(p.On(f.method, f.path).After(k), p)
		w.engine(t, 2).copyError(t, w.source(), w.destination(), side, f.kind)
		w.waitIdle(t)
		w.assertTagKept(t, old.Digest)
		p.Clear()
		before := uploads(w.to)
		w.engine(t, 1).copy(t, w.source(), w.destination())
		registrytest.Same(t, w.image.Tree, w.to.Read(t, "to", "1"))
		w.assertNotResent(t, before)
	})
}

// waitIdle waits until the destination has handled all requests.
func (w fixture) waitIdle(t *testing.T) {
	t.Helper()
	w.to.Wait(t, func() bool { return w.to.Active() == 0 })
}

// pushCounts returns how often each blob and manifest of the image was pushed successfully.
func (w fixture) pushCounts() map[string]int {
	n := map[string]int{}
	for d := range w.image.Tree.Blobs {
		n[string(d)] = uploads(w.to)[string(d)]
	}
	for d := range w.image.Tree.Manifests {
		n[w.manifestPath(d)] = 0
	}
	for _, r := range w.to.Requests() {
		if _, counted := n[r.Path]; counted && r.Method == http.MethodPut && r.Status == http.StatusCreated {
			n[r.Path]++
		}
	}
	return n
}

// manifestPath returns the path that a manifest of the image is pushed to.
func (w fixture) manifestPath(d digest.Digest) string {
	if d == w.image.Digest {
		return tagPath
	}
	return "/v2/to/manifests/" + string(d)
}

// assertNotResent fails the test if a blob was uploaded again that the destination had before.
// It ignores uploads of a canceled copy that completed later.
func (w fixture) assertNotResent(t *testing.T, before map[string]int) {
	t.Helper()
	after := uploads(w.to)
	for d, n := range before {
		if after[d] != n {
			t.Errorf("the blob %s was uploaded again", d)
		}
	}
}

// assertTagKept fails the test unless the tag has the digest want or was written.
func (w fixture) assertTagKept(t *testing.T, want digest.Digest) {
	t.Helper()
	if w.pushCounts()[tagPath] > 0 {
		want = w.image.Digest
	}
	if got := w.to.Digest(t, "to", "1"); got != want {
		t.Errorf("tag has digest %s, want %s", got, want)
	}
}

// assertCheckedBeforeRepush fails the test if a manifest was pushed again after a push without
// a response, unless the client had requested it by HEAD in between.
func (w fixture) assertCheckedBeforeRepush(t *testing.T) {
	t.Helper()
	unanswered := map[string]bool{}
	for _, r := range w.to.Requests() {
		switch {
		case !strings.HasPrefix(r.Path, "/v2/to/manifests/"):
		case r.Method == http.MethodHead:
			unanswered[r.Path] = false
		case r.Method == http.MethodPut:
			if unanswered[r.Path] {
				t.Errorf("%s was pushed again without a HEAD request", r.Path)
			}
			unanswered[r.Path] = r.Status == 0
		}
	}
}
