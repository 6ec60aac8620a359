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

// hindrances keep a request, and whoever waits for it, busy for longer than
// anybody waits.
var hindrances = map[string]fault{
	"no answer":                           {method: ".*", path: ".*", happen: func(r *registrytest.Rule, _ *registrytest.Proxy) { r.Stall() }},
	"half an answer and nothing more":     {method: "GET", path: ".*", happen: func(r *registrytest.Rule, _ *registrytest.Proxy) { r.Do(halfway) }},
	"to come again in a minute":           {method: ".*", path: "/v2/.*", happen: replies(429, http.Header{"Retry-After": {"60"}}), logged: "status=429"},
	"for a token, come again in a minute": {method: ".*", path: "/token", happen: replies(429, http.Header{"Retry-After": {"60"}})},
}

func TestCopy_CancelAtEachRequest(t *testing.T) {
	eachRequest(t, hindrances, func(t *testing.T, f fault, side registry.Side, k int) {
		registrytest.NoLeaks(t)
		w := newWorld(t)
		old := w.to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
		p := w.at(side)
		rule := p.On(f.method, f.path).After(k).Times(1)
		f.happen(rule, p)
		e := w.engine(t, 2)
		ctx, cancel := context.WithCancel(t.Context())
		ended := e.start(ctx, e.job(t, w.source(), w.destination()))
		p.Wait(t, func() bool { return rule.Taken() == 1 })
		e.log.wait(t, f.logged)
		cancel()
		r := await(t, ended)

		if err, ok := errors.AsType[*registry.Error](r.err); !ok || err.Side == "" || !errors.Is(r.err, context.Canceled) {
			t.Errorf("the error is not that of the context: %v", r.err)
		}
		w.stands(t, old.Digest)
		if opened, closed := e.log.count("method=POST", "status=202"), closedUploads(w.to); opened != closed {
			t.Errorf("%d uploads were opened and %d closed:\n%s", opened, closed, e.log.lines("failed to cancel upload"))
		}
	})
}

// closedUploads counts the uploads that were completed or given up, or that one
// who gives up finds completed.
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
