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

// A registry can redirect each of many requests to a different host. Idle connections to
// those hosts must not accumulate.
func TestTransport_ClosesIdleConnections(t *testing.T) {
	var used sync.Map // tokens that were used; each token is valid once
	for name, test := range map[string]struct {
		respond  func(w http.ResponseWriter, r *http.Request, target func() string)
		atTarget http.HandlerFunc
		do       func(context.Context, registry.Repository) error
	}{
		"redirect": {
			func(w http.ResponseWriter, r *http.Request, target func() string) { redirect(target())(w, r) },
			serveBlob("content"),
			func(ctx context.Context, r registry.Repository) error { return drain(ctx, r, descriptor("content")) },
		},
		"upload_location": {
			func(w http.ResponseWriter, _ *http.Request, target func() string) {
				w.Header().Set("Location", target())
				w.WriteHeader(http.StatusAccepted)
			},
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) },
			func(ctx context.Context, r registry.Repository) error {
				_, err := r.PutBlob(ctx, descriptor("content"), newBody(t, "content").get())
				return err
			},
		},
		"token_realm": {
			func(w http.ResponseWriter, r *http.Request, target func() string) {
				if _, again := used.LoadOrStore(r.Header.Get("Authorization"), true); again || r.Header.Get("Authorization") == "" {
					bearerChallenge(target())(w, r)
					return
				}
				serveManifest(w, r)
			},
			func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprintf(w, `{"token":%q}`, r.Host) },
			get,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const targets, few = 200, 40
				var sent, open atomic.Int32
				m := servePipes(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Host != pipeHost {
						test.atTarget(w, r)
						return
					}
					test.respond(w, r, func() string { return fmt.Sprintf("http://127.0.0.1:%d/there", 6000+sent.Add(1)) })
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
				for n := range targets {
					if err := test.do(t.Context(), c.push(t, fmt.Sprintf("%s/app%d", pipeHost, n))); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				if sent.Load() < targets || open.Load() > few {
					t.Errorf("open connections = %d after redirects to %d hosts, want at most %d", open.Load(), sent.Load(), few)
				}
			})
		})
	}
}

// A registry can require a new token for each request. The last tokens are remembered so
// that they can be redacted, and so are the credentials that were exchanged for them.
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
			issued.Add(1) // the token is used up
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
		t.Errorf("remembered tokens = %d, want %d", n, remote.MaxRememberedSecrets)
	}
	text := fmt.Sprintf("%s%d and the password", canary, issued.Load()-1)
	if got := repo.Redact(text); got != "*** and ***" {
		t.Errorf("Redact() = %q, want both redacted", got)
	}
}

// Each page of a list can have a long link to the next page. The client must not keep all
// of them.
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
		t.Errorf("ListTags() read %d pages, %v", pages.Load(), err)
	}
	if after > before+most {
		t.Errorf("retained memory = %d bytes, want at most %d", after-before, most)
	}
}

// heap returns how many bytes of the heap are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestRedirect_LocationTooLong(t *testing.T) {
	long := "http://127.0.0.1:1/" + strings.Repeat("x", 16<<10)
	for name, rc := range redirectCases {
		if name == "token_realm" {
			continue // the realm is part of the challenge, whose header is bounded, and is not kept
		}
		server := servePlain(t, rc.to(long))
		c := newClient(t, credentials(map[string]auth.Credential{address(server): {Username: "ci", Password: canary}}))
		err := rc.do(t.Context(), c.push(t, address(server)+"/app"))
		if e := assertErrorKind(t, err, registry.ErrLimit); len(e.Error()) > 1000 {
			t.Errorf("%s: error has %d bytes, want at most 1000", name, len(e.Error()))
		}
	}
}
