package registrytest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestReply_AfterAndTimes(t *testing.T) {
	p, _ := front(t)
	rule := p.On("GET", "/v2/app/tags/.*").After(1).Times(2).
		Reply(http.StatusTooManyRequests, http.Header{"retry-after": {"7"}}, "slow down")
	if got := statuses(t, p, 5, "GET", "/v2/app/tags/list"); !equal(got, 200, 429, 429, 200, 200) {
		t.Errorf("statuses = %v", got)
	}
	if rule.Taken() != 2 {
		t.Errorf("Taken() = %d, want 2", rule.Taken())
	}
	p.On(".*", "/v2/app/tags/.*").Reply(http.StatusBadGateway, http.Header{"Retry-After": {"7"}}, "down")
	res, body, err := fetch(t, p, "GET", "/v2/app/tags/list", "")
	if err != nil || res.StatusCode != 502 || res.Header.Get("Retry-After") != "7" || body != "down" {
		t.Errorf("response = %v with body %q, %v", res, body, err)
	}
	p.Clear()
	if got := statuses(t, p, 1, "GET", "/v2/app/tags/list"); !equal(got, 200) {
		t.Errorf("statuses after Clear() = %v", got)
	}
}

func TestWhere(t *testing.T) {
	p, _ := front(t)
	p.On("GET", ".*").Where(func(r *http.Request) bool { return r.URL.Query().Get("n") == "2" }).Reply(500, nil, "")
	p.On("GET", ".*").Where(func(*http.Request) bool { return true }) // has no effect without an action
	if got := append(statuses(t, p, 1, "GET", "/v2/app/tags/list?n=1"), statuses(t, p, 1, "GET", "/v2/app/tags/list?n=2")...); !equal(got, 200, 500) {
		t.Errorf("statuses = %v", got)
	}
}

func TestRule_DoAndAlter(t *testing.T) {
	p, pushed := front(t)
	p.On("GET", "/v2/app/tags/list").Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.URL.Path = "/v2/app/manifests/1.0"
		next.ServeHTTP(w, r)
	})
	if _, body, err := fetch(t, p, "GET", "/v2/app/tags/list", ""); err != nil || body != string(pushed.Bytes) {
		t.Errorf("body = %q, %v, want the manifest", body, err)
	}
	p.On("HEAD", ".*").Alter(func(res *http.Response) {
		res.Header.Set("Docker-Content-Digest", "changed")
		res.StatusCode = http.StatusAccepted
	})
	res, _, err := fetch(t, p, "HEAD", "/v2/app/manifests/1.0", "")
	if err != nil || res.StatusCode != 202 || res.Header.Get("Docker-Content-Digest") != "changed" {
		t.Errorf("response = %v, %v, want the altered one", res, err)
	}
}

func TestCut(t *testing.T) {
	p, pushed := front(t)
	layer := "/v2/app/blobs/" + string(pushed.Blobs[2].Descriptor().Digest)
	p.On("GET", layer).Times(1).Cut(5000)
	res, body, err := fetch(t, p, "GET", layer, "")
	if !errors.Is(err, io.ErrUnexpectedEOF) || res.StatusCode != 200 || len(body) != 5000 {
		t.Errorf("body has %d bytes, %v, want 5000 and an unexpected EOF", len(body), err)
	}
	if _, body, err := fetch(t, p, "GET", layer, ""); err != nil || len(body) != 20_000 {
		t.Errorf("second body has %d bytes, %v, want 20000", len(body), err)
	}
}

func TestReset(t *testing.T) {
	for name, options := range map[string][]registrytest.Option{"plain": nil, "tls": {registrytest.TLS()}} {
		t.Run(name, func(t *testing.T) {
			p := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}, options...))
			p.On("GET", ".*").Reset()
			failure := failures(t, func(t testing.TB) { p.Through().Get(t, "app", "/v2/", nil) })
			if !strings.Contains(failure, "reset by peer") && !strings.Contains(failure, "EOF") {
				t.Errorf("Get() failure = %q, want a connection reset", failure)
			}
			if got := p.Requests()[0]; got.Status != 0 {
				t.Errorf("recorded request = %+v, want no status", got)
			}
		})
	}
}

func TestCutUpload(t *testing.T) {
	p, _ := front(t)
	p.On("PUT", ".*").CutUpload(3)
	_, _, err := fetch(t, p, "PUT", "/v2/app/manifests/2.0", strings.Repeat("x", 2000))
	if err == nil {
		t.Error("the request succeeded")
	}
	if p.HasManifest(t, "app", "2.0") {
		t.Error("the registry received the manifest")
	}
}

func TestStall_ClientCancels(t *testing.T) {
	p, _ := front(t)
	p.On("GET", ".*").Stall()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL()+"/v2/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		res, err := new(http.Client).Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		done <- err
	}()
	p.Wait(t, func() bool { return p.Active() == 1 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Do() = %v, want %v", err, context.Canceled)
	}
	p.Wait(t, func() bool { return p.Active() == 0 })
}

func TestRule_EndsWithTest(t *testing.T) {
	for name, hold := range map[string]func(*registrytest.Rule){
		"Stall": func(r *registrytest.Rule) { r.Stall() },
		"Hold":  func(r *registrytest.Rule) { r.Hold(nil) },
	} {
		done := make(chan error, 1)
		failure := failures(t, func(t testing.TB) {
			p := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
			hold(p.On("PUT", ".*"))
			// The body of a delayed request is not read, so that the server does not notice
			// that its client disconnected.
			body := strings.NewReader(strings.Repeat("x", 1<<20))
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, p.URL()+"/v2/", body)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				res, err := new(http.Client).Do(req)
				if err == nil {
					_ = res.Body.Close()
				}
				done <- err
			}()
			p.Wait(t, func() bool { return p.Active() == 1 })
		})
		if err := <-done; err == nil || failure != "" {
			t.Errorf("%s: Do() succeeded or the test failed: %q", name, failure)
		}
	}
}

func TestHold(t *testing.T) {
	p, _ := front(t)
	gate := make(chan struct{})
	p.On("GET", ".*").Hold(gate)
	var clients sync.WaitGroup
	for range 5 {
		clients.Go(func() { fetch(t, p, "GET", "/v2/app/tags/list", "") })
	}
	p.Wait(t, func() bool { return p.Active() == 5 })
	close(gate)
	clients.Wait()
	if p.Peak() != 5 || p.Count("GET", ".*") != 5 {
		t.Errorf("Peak() = %d, Count() = %d, want 5 and 5", p.Peak(), p.Count("GET", ".*"))
	}
	for _, r := range p.Requests() {
		if r.Status != 200 {
			t.Errorf("request = %+v, want status 200", r)
		}
	}
}

func TestCutHalfway(t *testing.T) {
	p, pushed := front(t)
	layer := "/v2/app/blobs/" + string(pushed.Blobs[2].Descriptor().Digest)
	p.On(".*", ".*").CutHalfway()
	res, body, err := fetch(t, p, "GET", layer, "")
	if !errors.Is(err, io.ErrUnexpectedEOF) || res.StatusCode != 200 || len(body) != 10_000 {
		t.Errorf("body has %d of 20000 bytes, %v, want half of them", len(body), err)
	}
	if _, _, err := fetch(t, p, "HEAD", layer, ""); err == nil {
		t.Error("HEAD succeeded, want a cut response")
	}
	if _, _, err := fetch(t, p, "POST", "/v2/app/blobs/uploads/", ""); err == nil {
		t.Error("POST succeeded, want a cut response")
	}
	if got := p.Requests()[2].Status; got != http.StatusAccepted {
		t.Errorf("POST status = %d, want %d", got, http.StatusAccepted)
	}
}
