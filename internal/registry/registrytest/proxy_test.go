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

// front is a scripted registry that holds app:1.0, and a proxy before it.
func front(t *testing.T) (*registrytest.Proxy, registrytest.Pushed) {
	t.Helper()
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
	return registrytest.Intercept(t, reg), pushed
}

// fetch sends a request through a proxy and reads what comes.
func fetch(t *testing.T, p *registrytest.Proxy, method, path, body string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "*/*")
	// A connection of its own: what a rule cuts is nobody else's.
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

func TestProxyPassesEverythingOn(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start starter) {
		for name, options := range map[string][]registrytest.Option{"plain": nil, "TLS": {registrytest.TLS()}} {
			t.Run(name, func(t *testing.T) {
				p := registrytest.Intercept(t, start(t, options...))
				pushed := p.Push(t, "app", "1.0", registrytest.MultiArch("a"))
				if !strings.HasPrefix(pushed.Ref, p.Addr+"/") {
					t.Errorf("pushed as %s, want the proxy's %s", pushed.Ref, p.Addr)
				}
				if n := len(p.Requests()); n != 0 {
					t.Errorf("setting up went through the proxy: %d requests", n)
				}
				registrytest.Same(t, pushed.Tree, p.Through().Read(t, "app", "1.0"))
				p.Through().Push(t, "other", "1.0", registrytest.MultiArch("a"))
				registrytest.Same(t, pushed.Tree, p.Read(t, "other", "1.0"))
				if got, want := p.Count("PUT", "/v2/other/manifests/.*"), 5; got != want {
					t.Errorf("%d manifests were put through the proxy, want %d", got, want)
				}
			})
		}
	})
}

func TestLocationsLeadBackThroughTheProxy(t *testing.T) {
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

func TestProxyRecords(t *testing.T) {
	p, _ := front(t)
	fetch(t, p, "GET", "/v2/app/tags/list?n=5&last=x%2Fy", "")
	fetch(t, p, "PUT", "/v2/app/manifests/bad", "not JSON")
	got := p.Requests()
	if len(got) != 2 {
		t.Fatalf("%d requests, want 2", len(got))
	}
	if r := got[0]; r.Method != "GET" || r.Path != "/v2/app/tags/list" || r.Query.Get("last") != "x/y" || r.Header.Get("Accept") != "*/*" || r.Host != p.Addr || r.Status != 200 {
		t.Errorf("the first is %+v", r)
	}
	if r := got[1]; r.Method != "PUT" || r.Status != 400 || r.Received != int64(len("not JSON")) {
		t.Errorf("the second is %+v", r)
	}
	if n := p.Count("GET|PUT", "/v2/app/.*"); n != 2 {
		t.Errorf("counted %d, want 2", n)
	}
	if n := p.Count("GET", "/v2/app"); n != 0 {
		t.Errorf("a part of a path counted: %d", n)
	}
	p.Forget()
	if n := len(p.Requests()); n != 0 {
		t.Errorf("%d requests after Forget", n)
	}
}

func TestReplyAfterSomeAndSomeTimes(t *testing.T) {
	p, _ := front(t)
	rule := p.On("GET", "/v2/app/tags/.*").After(1).Times(2).
		Reply(http.StatusTooManyRequests, http.Header{"retry-after": {"7"}}, "slow down")
	if got := statuses(t, p, 5, "GET", "/v2/app/tags/list"); !equal(got, 200, 429, 429, 200, 200) {
		t.Errorf("answered %v", got)
	}
	if rule.Taken() != 2 {
		t.Errorf("the rule took %d, want 2", rule.Taken())
	}
	p.On(".*", "/v2/app/tags/.*").Reply(http.StatusBadGateway, http.Header{"Retry-After": {"7"}}, "down")
	res, body, err := fetch(t, p, "GET", "/v2/app/tags/list", "")
	if err != nil || res.StatusCode != 502 || res.Header.Get("Retry-After") != "7" || body != "down" {
		t.Errorf("%v %q %v", res, body, err)
	}
	p.Clear()
	if got := statuses(t, p, 1, "GET", "/v2/app/tags/list"); !equal(got, 200) {
		t.Errorf("after Clear: %v", got)
	}
}

func TestWhereLimitsARule(t *testing.T) {
	p, _ := front(t)
	p.On("GET", ".*").Where(func(r *http.Request) bool { return r.URL.Query().Get("n") == "2" }).Reply(500, nil, "")
	p.On("GET", ".*").Where(func(*http.Request) bool { return true }) // without a verb it does nothing
	if got := append(statuses(t, p, 1, "GET", "/v2/app/tags/list?n=1"), statuses(t, p, 1, "GET", "/v2/app/tags/list?n=2")...); !equal(got, 200, 500) {
		t.Errorf("answered %v", got)
	}
}

func TestDoAndAlter(t *testing.T) {
	p, pushed := front(t)
	p.On("GET", "/v2/app/tags/list").Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.URL.Path = "/v2/app/manifests/1.0"
		next.ServeHTTP(w, r)
	})
	if _, body, err := fetch(t, p, "GET", "/v2/app/tags/list", ""); err != nil || body != string(pushed.Bytes) {
		t.Errorf("%q, %v", body, err)
	}
	p.On("HEAD", ".*").Alter(func(res *http.Response) {
		res.Header.Set("Docker-Content-Digest", "changed")
		res.StatusCode = http.StatusAccepted
	})
	res, _, err := fetch(t, p, "HEAD", "/v2/app/manifests/1.0", "")
	if err != nil || res.StatusCode != 202 || res.Header.Get("Docker-Content-Digest") != "changed" {
		t.Errorf("%v, %v", res, err)
	}
}

func TestCutEndsABodyEarly(t *testing.T) {
	p, pushed := front(t)
	layer := "/v2/app/blobs/" + string(pushed.Blobs[2].Descriptor().Digest)
	p.On("GET", layer).Times(1).Cut(5000)
	res, body, err := fetch(t, p, "GET", layer, "")
	if !errors.Is(err, io.ErrUnexpectedEOF) || res.StatusCode != 200 || len(body) != 5000 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if _, body, err := fetch(t, p, "GET", layer, ""); err != nil || len(body) != 20_000 {
		t.Errorf("the second time: %d bytes, %v", len(body), err)
	}
}

func TestResetGivesNoAnswer(t *testing.T) {
	for name, options := range map[string][]registrytest.Option{"plain": nil, "TLS": {registrytest.TLS()}} {
		t.Run(name, func(t *testing.T) {
			p := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}, options...))
			p.On("GET", ".*").Reset()
			said := failures(t, func(t testing.TB) { p.Through().Get(t, "app", "/v2/", nil) })
			if !strings.Contains(said, "reset by peer") && !strings.Contains(said, "EOF") {
				t.Errorf("said %q", said)
			}
			if got := p.Requests()[0]; got.Status != 0 {
				t.Errorf("recorded %+v", got)
			}
		})
	}
}

func TestCutUploadBreaksTheRequest(t *testing.T) {
	p, _ := front(t)
	p.On("PUT", ".*").CutUpload(3)
	_, _, err := fetch(t, p, "PUT", "/v2/app/manifests/2.0", strings.Repeat("x", 2000))
	if err == nil {
		t.Error("the request was answered")
	}
	if p.HasManifest(t, "app", "2.0") {
		t.Error("the registry heard of it")
	}
}

func TestStallEndsWithTheClient(t *testing.T) {
	p, _ := front(t)
	p.On("GET", ".*").Stall()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL()+"/v2/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan error)
	go func() {
		res, err := new(http.Client).Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		answered <- err
	}()
	p.Wait(t, func() bool { return p.Active() == 1 })
	cancel()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	p.Wait(t, func() bool { return p.Active() == 0 })
}

func TestWhatIsHeldUpEndsWithTheTest(t *testing.T) {
	for name, hold := range map[string]func(*registrytest.Rule){
		"Stall": func(r *registrytest.Rule) { r.Stall() },
		"Hold":  func(r *registrytest.Rule) { r.Hold(nil) },
	} {
		answered := make(chan error, 1)
		said := failures(t, func(t testing.TB) {
			p := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
			hold(p.On("PUT", ".*"))
			// What is held is not read: the server does not notice that its client left.
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
				answered <- err
			}()
			p.Wait(t, func() bool { return p.Active() == 1 })
		})
		if err := <-answered; err == nil || said != "" {
			t.Errorf("%s: there was an answer (%s)", name, said)
		}
	}
}

func TestStopRefusesConnections(t *testing.T) {
	p, _ := front(t)
	p.Stop()
	if _, _, err := fetch(t, p, "GET", "/v2/", ""); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v, want %v", err, syscall.ECONNREFUSED)
	}
}

func TestHoldShowsThePeak(t *testing.T) {
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
		t.Errorf("peak %d of %d", p.Peak(), p.Count("GET", ".*"))
	}
	for _, r := range p.Requests() {
		if r.Status != 200 {
			t.Errorf("%+v", r)
		}
	}
}

// A request is over when its last byte went out, not when its handler returned:
// otherwise a client with a limit of one would be seen to have two.
func TestARequestIsOverWithItsLastByte(t *testing.T) {
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
			t.Errorf("%d requests are under way after the answer", p.Active())
		}
	}
	if p.Peak() != 1 {
		t.Errorf("peak %d, want 1", p.Peak())
	}
}

func TestQueriesPassByteForByte(t *testing.T) {
	outer, _ := front(t)
	inner := registrytest.Intercept(t, outer.Through())
	const query = "n=5;x=%2f&&state=a+b%20c"
	if _, _, err := fetch(t, inner, "GET", "/v2/app/tags/list?"+query, ""); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*registrytest.Proxy{inner, outer} {
		if got := p.Requests()[0].RawQuery; got != query {
			t.Errorf("the query %q came as %q", query, got)
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
