package provider_test

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// interruptedCopy is a copy that stalls at one of its requests.
type interruptedCopy struct {
	side, method, path string
	stall              func(*registrytest.Rule)
	src, dst           *registrytest.Proxy
	tokens             *registrytest.TokenServer // of the destination, behind its proxy; nil if it requires no token
}

func (c *interruptedCopy) start(t *testing.T) {
	var options []registrytest.Option
	if c.path == "/token" {
		c.tokens = registrytest.NewTokenServer(t)
		options = append(options, registrytest.TokenAuth(c.tokens))
	}
	c.src = registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	c.dst = registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}, options...))
	if c.tokens != nil {
		c.tokens.URL = c.dst.URL() + "/token"
	}
	c.resume()
}

// stalledProxy returns the proxy whose request stalls.
func (c *interruptedCopy) stalledProxy() *registrytest.Proxy {
	if c.side == "source" {
		return c.src
	}
	return c.dst
}

// stallRequests stalls the request from now on, and resume stops that.
func (c *interruptedCopy) stallRequests() {
	c.src.Forget()
	c.dst.Forget()
	c.dst.Clear()
	c.stall(c.stalledProxy().On(c.method, c.path))
	c.serveTokens()
}

func (c *interruptedCopy) resume() {
	c.src.Clear()
	c.dst.Clear()
	c.serveTokens()
}

func (c *interruptedCopy) serveTokens() {
	c.dst.On(".*", "/token").Do(func(w http.ResponseWriter, r *http.Request, _ http.Handler) { c.tokens.ServeHTTP(w, r) })
}

// sessions returns how many upload sessions the destination opened that were not completed, and
// how many of those were canceled.
func (c *interruptedCopy) sessions() (open, canceled int) {
	for _, r := range c.dst.Requests() {
		switch {
		case r.Method == http.MethodPost && r.Status == http.StatusAccepted:
			open++
		case r.Method == http.MethodPut && r.Query.Has("digest") && r.Status == http.StatusCreated:
			open--
		case r.Method == http.MethodDelete:
			canceled++
		}
	}
	return open, canceled
}

func TestInterrupt_Apply(t *testing.T) {
	t.Parallel()
	stall := func(r *registrytest.Rule) { r.Stall() }
	rateLimit := func(r *registrytest.Rule) { r.Reply(429, http.Header{"Retry-After": {"600"}}, "") }
	copies := map[string]*interruptedCopy{
		"blob_is_read":     {side: "source", method: "GET", path: ".*/blobs/.*", stall: stall},
		"blob_is_sent":     {side: "destination", method: "PUT", path: ".*/blobs/uploads/.*", stall: stall},
		"tag_is_put":       {side: "destination", method: "PUT", path: ".*/manifests/1", stall: stall},
		"tag_rate_limited": {side: "destination", method: "PUT", path: ".*/manifests/1", stall: rateLimit},
		"token_waits":      {side: "destination", method: "GET", path: "/token", stall: stall},
	}
	blocks, before := []string{}, map[string]registrytest.Pushed{}
	for name, c := range copies {
		c.start(t)
		before[name] = c.src.Push(t, "app", "1", registrytest.MultiArch("first"))
		blocks = append(blocks, imageCopy(name, c.src.Ref("app", "1"), c.dst.Ref("app", "1")))
	}
	ws := newWorkspace(t)
	ws.converge(blocks...)
	for _, c := range copies {
		c.src.Push(t, "app", "1", registrytest.MultiArch("second"))
	}
	plan := ws.plan()
	for _, c := range copies {
		c.stallRequests()
	}

	result := ws.runInterrupted(func() {
		for _, c := range copies {
			c.stalledProxy().Wait(t, func() bool { return c.stalledProxy().Count(c.method, c.path) > 0 })
		}
	}, "apply", "-json", "-input=false", plan.file)
	for name, c := range copies {
		result.wantError("Unable to Copy Image", c.side+" "+c.stalledProxy().Addr+"/app", "What was copied stays. Apply again to go on.")
		registrytest.Same(t, before[name].Tree, c.dst.Read(t, "app", "1"))
		// The client cancels uploads within a short grace period, so some may remain.
		if open, givenUp := c.sessions(); open > 0 && givenUp == 0 {
			t.Errorf("%s: %d uploads were left open", name, open)
		}
		c.resume()
	}
	ws.apply(ws.plan())
	ws.wantNoChanges()
}

// TestInterrupt_Plan checks that the only advice for an interrupted plan is to run it again.
func TestInterrupt_Plan(t *testing.T) {
	t.Parallel()
	source, destination := registrytest.Intercept(t, registrytest.V3(t)), registrytest.Intercept(t, registrytest.V3(t))
	source.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	ws := newWorkspace(t)
	for _, stalled := range []*registrytest.Proxy{source, destination} {
		stalled.On(".*", ".*/manifests/1").Stall()
		ws.configure(imageCopy("app", source.Ref("app", "1"), destination.Ref("app", "1")))
		stalled.Forget()
		result := ws.runInterrupted(func() { stalled.Wait(t, func() bool { return stalled.Count(".*", ".*/manifests/1") > 0 }) }, "plan", "-json", "-input=false")
		result.wantError("interrupted", "Run it again.")
		for _, d := range result.diagnostics {
			if strings.Contains(d.Detail, "-refresh=false") {
				t.Errorf("unexpected advice: %s", d.Detail)
			}
		}
		stalled.Clear()
		ws.apply(ws.plan())
	}
}

// runInterrupted runs a command, and interrupts it when ready returns. It fails the test if the
// command succeeds or does not end.
func (w *workspace) runInterrupted(ready func(), args ...string) outcome {
	w.t.Helper()
	hang, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(hang, w.terraform, args...)
	cmd.Dir, cmd.Env = w.dir, w.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ready()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		w.t.Fatal(err)
	}
	err := cmd.Wait()
	if err == nil || hang.Err() != nil {
		w.t.Fatalf("Wait() = %v, context error = %v:\n%s", err, hang.Err(), out.String())
	}
	return w.outcomeOf(args, out.String(), errs.String(), err)
}
