package remote_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// A registry can lead each of many requests to a place of its own. Connections to
// places that were gone to once do not pile up.
func TestTransport_ClosesIdleConnections(t *testing.T) {
	var used sync.Map // the tokens, each of which is good for once
	for way, test := range map[string]struct {
		lead  func(w http.ResponseWriter, r *http.Request, place func() string)
		there http.HandlerFunc
		do    func(context.Context, registry.Repository) error
	}{
		"redirect": {
			func(w http.ResponseWriter, r *http.Request, place func() string) { redirect(place())(w, r) },
			serveBlob("content"),
			func(ctx context.Context, r registry.Repository) error { return drain(ctx, r, descriptor("content")) },
		},
		"upload_location": {
			func(w http.ResponseWriter, _ *http.Request, place func() string) {
				w.Header().Set("Location", place())
				w.WriteHeader(http.StatusAccepted)
			},
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) },
			func(ctx context.Context, r registry.Repository) error {
				_, err := r.PutBlob(ctx, descriptor("content"), newBody(t, "content").get())
				return err
			},
		},
		"token_realm": {
			func(w http.ResponseWriter, r *http.Request, place func() string) {
				if _, again := used.LoadOrStore(r.Header.Get("Authorization"), true); again || r.Header.Get("Authorization") == "" {
					bearerChallenge(place())(w, r)
					return
				}
				serveManifest(w, r)
			},
			func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprintf(w, `{"token":%q}`, r.Host) },
			get,
		},
	} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const places, few = 200, 40
				var led, open atomic.Int32
				m := servePipes(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Host != pipeHost {
						test.there(w, r)
						return
					}
					test.lead(w, r, func() string { return fmt.Sprintf("http://127.0.0.1:%d/there", 6000+led.Add(1)) })
				})
				c := newClient(t, m.options, func(o *remote.Options) {
					o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
						conn, err := m.dial(ctx, network, address)
						if err == nil {
							open.Add(1)
							conn = &notifyingConn{conn, sync.OnceFunc(func() { open.Add(-1) })}
						}
						return conn, err
					}
				})
				for n := range places {
					if err := test.do(t.Context(), c.push(t, fmt.Sprintf("%s/app%d", pipeHost, n))); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				if led.Load() < places || open.Load() > few {
					t.Errorf("of the connections to %d places %d are open", led.Load(), open.Load())
				}
			})
		})
	}
}

// A registry can want another token for each request. The last ones are known by
// their text, and so are the credentials that brought them.
func TestRedact_RememberedTokenLimit(t *testing.T) {
	var issued atomic.Int32
	server := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
		newest := fmt.Sprintf("%s%d", canary, issued.Load())
		switch {
		case r.URL.Path == "/token":
			_, _ = fmt.Fprintf(w, `{"token":"%s%d"}`, canary, issued.Add(1))
		case r.URL.Query().Has("mount") || r.Header.Get("Authorization") != "Bearer "+newest:
			bearerChallenge("http://"+r.Host+"/token")(w, r)
		default:
			issued.Add(1) // the token was good for once
			serveManifest(w, r)
		}
	})
	c := newClient(t, credentials(map[string]auth.Credential{address(server): {Username: "ci", Password: "the password"}}))
	repo := c.pull(t, address(server)+"/app")
	for range 100 {
		if err := get(t.Context(), repo); err != nil {
			t.Fatal(err)
		}
	}
	if n := remote.RememberedSecrets(repo); n != remote.MaxRememberedSecrets {
		t.Errorf("%d tokens are remembered, want %d", n, remote.MaxRememberedSecrets)
	}
	text := fmt.Sprintf("%s%d and the password", canary, issued.Load()-1)
	if shown := repo.Redact(text); shown != "*** and ***" {
		t.Errorf("they are shown as %q", shown)
	}
}

// Each page of a list can have a long link to the next.
func TestListTags_LongLinkMemory(t *testing.T) {
	const most = 4 << 20
	var before, after uint64
	host, pages := servePages(t, func(page int) string {
		switch page {
		case 1:
			before = heap()
		case remote.MaxPages:
			after = heap()
			return ""
		}
		return fmt.Sprintf(`</v2/app/tags/list?page=%d&%s>; rel="next"`, page+1, strings.Repeat("x", 10<<10))
	})
	quiet := func(o *remote.Options) { o.Logger = nil }
	if _, err := newClient(t, quiet).pull(t, host+"/app").ListTags(t.Context()); err != nil || pages.Load() != remote.MaxPages {
		t.Errorf("read %d pages, %v", pages.Load(), err)
	}
	if after > before+most {
		t.Errorf("what is remembered of them takes %d bytes", after-before)
	}
}

// heap is how much memory something refers to.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestRedirect_LocationTooLong(t *testing.T) {
	long := "http://127.0.0.1:1/" + strings.Repeat("x", 16<<10)
	for way, rc := range redirectCases {
		if way == "token_realm" {
			continue // goes with the challenge, whose header is bounded, and is not kept
		}
		server := servePlain(t, rc.to(long))
		c := newClient(t, credentials(map[string]auth.Credential{address(server): {Username: "ci", Password: canary}}))
		err := rc.do(t.Context(), c.push(t, address(server)+"/app"))
		if e := assertErrorKind(t, err, registry.ErrLimit); len(e.Error()) > 1000 {
			t.Errorf("%s: the error has %d bytes", way, len(e.Error()))
		}
	}
}
