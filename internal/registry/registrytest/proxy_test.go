package registrytest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// front returns a proxy in front of a scripted registry that has the image app:1.0.
func front(t *testing.T) (*registrytest.Proxy, registrytest.Pushed) {
	t.Helper()
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
	return registrytest.Intercept(t, reg), pushed
}

// fetch sends a request through a proxy and reads the response.
func fetch(t *testing.T, p *registrytest.Proxy, method, path, body string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "*/*")
	// Each request uses its own connection, so that a cut affects no other request.
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	return res, string(content), err
}

func statuses(t *testing.T, p *registrytest.Proxy, n int, method, path string) []int {
	t.Helper()
	var got []int
	for range n {
		res, _, err := fetch(t, p, method, path, "")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, res.StatusCode)
	}
	return got
}

func TestIntercept_ForwardsRequests(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start starter) {
		for name, options := range map[string][]registrytest.Option{"plain": nil, "tls": {registrytest.TLS()}} {
			t.Run(name, func(t *testing.T) {
				p := registrytest.Intercept(t, start(t, options...))
				pushed := p.Push(t, "app", "1.0", registrytest.MultiArch("a"))
				if !strings.HasPrefix(pushed.Ref, p.Addr+"/") {
					t.Errorf("Push() reference = %s, want one on %s", pushed.Ref, p.Addr)
				}
				if n := len(p.Requests()); n != 0 {
					t.Errorf("requests of Push() = %d, want 0", n)
				}
				registrytest.Same(t, pushed.Tree, p.Through().Read(t, "app", "1.0"))
				p.Through().Push(t, "other", "1.0", registrytest.MultiArch("a"))
				registrytest.Same(t, pushed.Tree, p.Read(t, "other", "1.0"))
				if got, want := p.Count("PUT", "/v2/other/manifests/.*"), 5; got != want {
					t.Errorf("manifest pushes = %d, want %d", got, want)
				}
			})
		}
	})
}

func TestIntercept_Location(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start starter) {
		p := registrytest.Intercept(t, start(t))
		res, _, err := fetch(t, p, "POST", "/v2/app/blobs/uploads/", "")
		if err != nil {
			t.Fatal(err)
		}
		location, err := res.Location()
		if err != nil || location.Host != p.Addr {
			t.Errorf("Location %v (%v), want one on %s", location, err, p.Addr)
		}
	})
}

func TestProxy_RecordsRequests(t *testing.T) {
	p, _ := front(t)
	fetch(t, p, "GET", "/v2/app/tags/list?n=5&last=x%2Fy", "")
	fetch(t, p, "PUT", "/v2/app/manifests/bad", "not JSON")
	got := p.Requests()
	if len(got) != 2 {
		t.Fatalf("len(Requests()) = %d, want 2", len(got))
	}
	if r := got[0]; r.Method != "GET" || r.Path != "/v2/app/tags/list" || r.Query.Get("last") != "x/y" || r.Header.Get("Accept") != "*/*" || r.Host != p.Addr || r.Status != 200 {
		t.Errorf("Requests()[0] = %+v", r)
	}
	if r := got[1]; r.Method != "PUT" || r.Status != 400 || r.Received != int64(len("not JSON")) {
		t.Errorf("Requests()[1] = %+v", r)
	}
	if n := p.Count("GET|PUT", "/v2/app/.*"); n != 2 {
		t.Errorf("Count() = %d, want 2", n)
	}
	if n := p.Count("GET", "/v2/app"); n != 0 {
		t.Errorf("Count() of a partial path = %d, want 0", n)
	}
	p.Forget()
	if n := len(p.Requests()); n != 0 {
		t.Errorf("len(Requests()) after Forget() = %d, want 0", n)
	}
}

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

func TestStop(t *testing.T) {
	p, _ := front(t)
	p.Stop()
	if _, _, err := fetch(t, p, "GET", "/v2/", ""); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("fetch() = %v, want %v", err, syscall.ECONNREFUSED)
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

// A request ends with its last byte, not when its handler returns. Otherwise a client that
// limits itself to one request would appear to send two.
func TestActive_EndsWithLastByte(t *testing.T) {
	p, pushed := front(t)
	returns := make(chan struct{})
	p.On("GET", ".*").Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-returns
	})
	defer close(returns)
	for _, b := range pushed.Blobs {
		if _, _, err := fetch(t, p, "GET", "/v2/app/blobs/"+string(b.Descriptor().Digest), ""); err != nil {
			t.Fatal(err)
		}
		if p.Active() != 0 {
			t.Errorf("Active() after the response = %d, want 0", p.Active())
		}
	}
	if p.Peak() != 1 {
		t.Errorf("Peak() = %d, want 1", p.Peak())
	}
}

func TestIntercept_KeepsRawQuery(t *testing.T) {
	outer, _ := front(t)
	inner := registrytest.Intercept(t, outer.Through())
	const query = "n=5;x=%2f&&state=a+b%20c"
	if _, _, err := fetch(t, inner, "GET", "/v2/app/tags/list?"+query, ""); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*registrytest.Proxy{inner, outer} {
		if got := p.Requests()[0].RawQuery; got != query {
			t.Errorf("RawQuery = %q, want %q", got, query)
		}
	}
}

func equal(got []int, want ...int) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if got[i] != want[i] {
			return false
		}
	}
	return true
}
