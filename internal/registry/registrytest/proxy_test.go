package registrytest_test

import (
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

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

func TestStop(t *testing.T) {
	p, _ := front(t)
	p.Stop()
	if _, _, err := fetch(t, p, "GET", "/v2/", ""); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("fetch() = %v, want %v", err, syscall.ECONNREFUSED)
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
