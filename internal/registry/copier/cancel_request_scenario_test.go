package copier_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// stallFaults delay a request, and everything that waits for it, for longer than a test runs.
var stallFaults = map[string]fault{
	"no_response":       {method: ".*", path: ".*", inject: func(r *registrytest.Rule, _ *registrytest.Proxy) { r.Stall() }},
	"stalled_response":  {method: "GET", path: ".*", inject: func(r *registrytest.Rule, _ *registrytest.Proxy) { r.Do(stallHalfway) }},
	"retry_after":       {method: ".*", path: "/v2/.*", inject: respondWith(429, http.Header{"Retry-After": {"60"}}), logged: "status=429"},
	"token_retry_after": {method: ".*", path: "/token", inject: respondWith(429, http.Header{"Retry-After": {"60"}})},
}

func TestCopy_CancelAtEachRequest(t *testing.T) {
	forEachRequest(t, stallFaults, func(t *testing.T, f fault, side registry.Side, k int) {
		registrytest.NoLeaks(t)
		w := newFixture(t)
		old := w.to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
		p := w.side(side)
		rule := p.On(f.method, f.path).After(k).Times(1)
		f.inject(rule, p)
		e := w.engine(t, 2)
		ctx, cancel := context.WithCancel(t.Context())
		done := e.start(ctx, e.job(t, w.source(), w.destination()))
		p.Wait(t, func() bool { return rule.Taken() == 1 })
		e.log.wait(t, f.logged)
		cancel()
		r := await(t, done)

		if err, ok := errors.AsType[*registry.Error](r.err); !ok || err.Side == "" || !errors.Is(r.err, context.Canceled) {
			t.Errorf("Copy() error = %v, want context.Canceled with a side", r.err)
		}
		w.assertTagKept(t, old.Digest)
		if opened, closed := e.log.count("method=POST", "status=202"), closedUploads(w.to); opened != closed {
			t.Errorf("%d uploads were started and %d completed or canceled:\n%s", opened, closed, e.log.lines("failed to cancel upload"))
		}
	})
}

// closedUploads counts the uploads that were completed or canceled. An upload also counts if
// the request to cancel it finds that it no longer exists.
func closedUploads(p *registrytest.Proxy) int {
	closed := map[string]bool{}
	for _, r := range p.Requests() {
		switch {
		case !strings.Contains(r.Path, "/blobs/uploads/"):
		case r.Method == http.MethodPut && r.Status == http.StatusCreated,
			r.Method == http.MethodDelete && (r.Status == http.StatusNoContent || r.Status == http.StatusNotFound):
			closed[r.Path] = true
		}
	}
	return len(closed)
}
