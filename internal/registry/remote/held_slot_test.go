package remote_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

const anotherHost = "127.0.0.1:6001"

// A request that is redirected to another registry counts toward the limit of that
// registry.
func TestHeldSlot_RedirectToAnotherRegistry(t *testing.T) {
	content := descriptor("content")
	for name, do := range map[string]func(t *testing.T, c *client, host string) error{
		"resolve": func(t *testing.T, c *client, host string) error {
			t.Helper()
			_, err := c.pull(t, host+"/app").Resolve(t.Context(), "v1")
			return err
		},
		"read_a_blob": func(t *testing.T, c *client, host string) error {
			t.Helper()
			r, err := c.pull(t, host+"/app").GetBlob(registry.WithFlow(t.Context(), host), content)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, r)
			return errors.Join(err, r.Close())
		},
		"upload_a_blob": func(t *testing.T, c *client, host string) error {
			t.Helper()
			_, err := c.push(t, host+"/app").PutBlob(registry.WithFlow(t.Context(), host), content, newBody(t, "content").get())
			return err
		},
	} {
		for _, both := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/both_directions=%t", name, both), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var active, peak [2]atomic.Int32
					handler := func(w http.ResponseWriter, r *http.Request) {
						i, other := 0, anotherHost
						if r.Host == anotherHost {
							i, other = 1, pipeHost
						}
						peak[i].Store(max(peak[i].Load(), active[i].Add(1)))
						defer active[i].Add(-1)
						<-time.After(time.Second)
						_, _ = io.Copy(io.Discard, r.Body)
						target := "http://" + other + "/target"
						switch {
						case strings.HasPrefix(r.URL.Path, "/target") && r.Method == http.MethodPut:
							w.WriteHeader(http.StatusCreated)
						case r.Method == http.MethodPost && (both || i == 0):
							w.Header().Set("Location", target)
							w.WriteHeader(http.StatusAccepted)
						case r.Method == http.MethodPost:
							w.Header().Set("Location", "/target")
							w.WriteHeader(http.StatusAccepted)
						case !strings.HasPrefix(r.URL.Path, "/target") && (both || i == 0):
							redirect(target)(w, r)
						case r.Method == http.MethodHead:
							w.Header().Set("Docker-Content-Digest", string(content.Digest))
						default:
							_, _ = io.WriteString(w, "content")
						}
					}
					limit := remote.HostOptions{MaxConcurrentRequests: 3}
					c := newClient(t, settings(map[string]remote.HostOptions{pipeHost: limit, anotherHost: limit}), servePipes(t, handler).options)
					var all sync.WaitGroup
					for i := range 20 {
						all.Go(func() {
							if err := do(t, c, []string{pipeHost, anotherHost}[i%2]); err != nil {
								t.Error(err)
							}
						})
					}
					all.Wait()
					for i, host := range []string{pipeHost, anotherHost} {
						if got := peak[i].Load(); got > 3 {
							t.Errorf("requests in flight to %s = %d, want at most 3", host, got)
						}
					}
				})
			})
		}
	}
}

// gauge counts the requests in flight to a host.
type gauge struct{ active, peak atomic.Int32 }

// enter counts a request until the returned function is called.
func (g *gauge) enter() (leave func()) {
	g.peak.Store(max(g.peak.Load(), g.active.Add(1)))
	return func() { g.active.Add(-1) }
}

// The limit of a configured host applies before the host is used as a registry.
func TestHeldSlot_ConfiguredRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var other gauge
		content := descriptor("content")
		c := newClient(t, settings(map[string]remote.HostOptions{anotherHost: {MaxConcurrentRequests: 2}}), servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Host != anotherHost {
				redirect("http://"+anotherHost+"/target")(w, r)
				return
			}
			defer other.enter()()
			<-time.After(time.Second)
			_, _ = io.WriteString(w, "content")
		}).options)
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() { c.readInFlow(t, fmt.Sprint(i), content, time.Now()) })
		}
		all.Wait()
		if got := other.peak.Load(); got > 2 {
			t.Errorf("requests in flight to %s = %d, want at most 2", anotherHost, got)
		}
	})
}

// A download that was redirected fetches its next token in a slot of its own registry.
func TestHeldSlot_TokenAfterRedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, downloads = 2, 8
		var own gauge
		content, began := descriptor("content"), time.Now()
		var broken sync.Map
		handler := func(w http.ResponseWriter, r *http.Request) {
			if r.Host == anotherHost { // it breaks all first downloads together, after their tokens have expired
				if _, resumed := broken.LoadOrStore(r.URL.Path, true); resumed {
					http.ServeContent(w, r, "", time.Time{}, strings.NewReader("content"))
					return
				}
				w.Header().Set("Content-Length", fmt.Sprint(content.Size))
				for i := range 4 {
					_, _ = io.WriteString(w, "content"[i:i+1])
					_ = http.NewResponseController(w).Flush()
					<-time.After(time.Until(began.Add(time.Duration(i+1) * 40 * time.Second)))
				}
				panic(http.ErrAbortHandler)
			}
			defer own.enter()()
			<-time.After(time.Second)
			switch {
			case r.URL.Path == "/token":
				_, _ = io.WriteString(w, `{"token":"t0ken","expires_in":10}`)
			case r.Header.Get("Authorization") == "":
				w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+pipeHost+`/token"`)
				w.WriteHeader(http.StatusUnauthorized)
			default:
				redirect("http://"+anotherHost+r.URL.Path)(w, r)
			}
		}
		c := newClient(t, settings(map[string]remote.HostOptions{pipeHost: {MaxConcurrentRequests: limit}, anotherHost: {}}), servePipes(t, handler).options)
		var all sync.WaitGroup
		for i := range downloads {
			all.Go(func() {
				r, err := c.pull(t, fmt.Sprintf("%s/app%d", pipeHost, i)).GetBlob(t.Context(), content)
				if err == nil {
					_, err = io.Copy(io.Discard, r)
					err = errors.Join(err, r.Close())
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got := own.peak.Load(); got > limit {
			t.Errorf("requests in flight to %s = %d, want at most %d", pipeHost, got, limit)
		}
	})
}
