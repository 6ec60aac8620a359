package remote_test

import (
	"context"
	"errors"
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
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// What is left of an answer that nobody wants is read for the sake of its
// connection. It is not waited for as if somebody wanted it.
func TestResponseBody_DrainTimeout(t *testing.T) {
	drips := func(w http.ResponseWriter, r *http.Request, status int) {
		w.Header().Set("Content-Length", "4000")
		w.WriteHeader(status)
		_ = http.NewResponseController(w).Flush()
		drip(w, r, strings.Repeat("x", 4000), 10*time.Second)
	}
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request, number int)
		do     func(context.Context, registry.Repository) error
		want   error // nil: it succeeds
		bodies int
	}{
		"of redirects": {func(w http.ResponseWriter, r *http.Request, number int) {
			if number == 6 {
				serveManifest(w, r)
				return
			}
			w.Header().Set("Location", "/v2/app/manifests/1")
			drips(w, r, http.StatusTemporaryRedirect)
		}, get, nil, 5},
		"of redirects without end": {func(w http.ResponseWriter, r *http.Request, _ int) {
			w.Header().Set("Location", "/v2/app/manifests/1")
			drips(w, r, http.StatusTemporaryRedirect)
		}, get, registry.ErrProtocol, remote.MaxRedirects + 1},
		"of the question who asks": {func(w http.ResponseWriter, r *http.Request, number int) {
			if number == 2 {
				serveManifest(w, r)
				return
			}
			w.Header().Set("WWW-Authenticate", "Basic")
			drips(w, r, http.StatusUnauthorized)
		}, get, nil, 1},
		"of an upload that was opened, and of its end": {func(w http.ResponseWriter, r *http.Request, number int) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Location", "/upload")
			drips(w, r, map[bool]int{true: http.StatusAccepted, false: http.StatusCreated}[number == 1])
		}, upload(t), nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests atomic.Int32
				asked := newClock()
				c := newClient(t, servePipes(t, func(w http.ResponseWriter, r *http.Request) {
					test.answer(w, r, int(requests.Add(1)))
				}).options, singleAttempt, credentials(map[string]auth.Credential{pipeHost: {Username: "ci", Password: canary}}))
				err := test.do(t.Context(), c.push(t, pipeHost+"/app"))
				took := asked.elapsed()
				if !errors.Is(err, test.want) || test.want == nil && err != nil {
					t.Errorf("it ended with %v", err)
				}
				if most := time.Duration(test.bodies) * time.Second; took > most {
					t.Errorf("%d answers took %s, want %s at most", requests.Load(), took, most)
				}
			})
		})
	}
}

// An upload may be open at the registry before its answer is here.
func TestPutBlob_CanceledWhileStarting(t *testing.T) {
	const cancelled = 150 * time.Millisecond
	for name, test := range map[string]struct {
		opens   time.Duration // when the registry answers
		deleted int32
		ends    time.Duration // at most, after it was cancelled
	}{
		"before it is cancelled":             {100 * time.Millisecond, 1, 0},
		"a moment after it is cancelled":     {400 * time.Millisecond, 1, 250 * time.Millisecond},
		"half a second after it":             {650 * time.Millisecond, 1, 500 * time.Millisecond},
		"so late that nobody waits any more": {time.Hour, 0, 999 * time.Millisecond},
	} {
		for way, distrust := range map[string]bool{"asking for a mount": false, "without": true} {
			t.Run(name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var opened, deleted atomic.Int32
					m := servePipes(t, func(w http.ResponseWriter, r *http.Request) {
						switch r.Method {
						case http.MethodPost:
							opened.Add(1)
							select {
							case <-time.After(test.opens):
							case <-r.Context().Done():
							}
							w.Header().Set("Location", "/upload")
							w.WriteHeader(http.StatusAccepted)
						case http.MethodDelete:
							deleted.Add(1)
							w.WriteHeader(http.StatusNoContent)
						default:
							waitUntilDone(r)
						}
					})
					ctx, cancel := context.WithCancel(t.Context())
					time.AfterFunc(cancelled, cancel)
					began := newClock()
					content := registry.Content{Force: distrust, Open: func(ctx context.Context) (io.ReadCloser, error) {
						<-ctx.Done()
						return nil, context.Cause(ctx)
					}}
					_, err := newClient(t, m.options).push(t, pipeHost+"/app").PutBlob(ctx, descriptor(small), content)
					if took := began.elapsed() - cancelled; !errors.Is(err, context.Canceled) || took < 0 || took > test.ends {
						t.Errorf("it ended %s after it was cancelled, with %v", took, err)
					}
					if opened.Load() != 1 || deleted.Load() != test.deleted {
						t.Errorf("%d uploads were opened and %d given up", opened.Load(), deleted.Load())
					}
				})
			})
		}
	}
}

func TestPutBlob_CanceledBeforeStart(t *testing.T) {
	for name, test := range map[string]struct {
		before int // requests that are under way, of two that may be
		posts  int32
		ends   time.Duration // after it was cancelled
	}{
		"while it waits for a slot":         {2, 0, 0},
		"while the registry asks who it is": {1, 1, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var posts atomic.Int32
				m := servePipes(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Method != http.MethodPost {
						waitUntilDone(r)
						return
					}
					posts.Add(1)
					<-time.After(200 * time.Millisecond)
					w.Header().Set("WWW-Authenticate", "Basic")
					w.WriteHeader(http.StatusUnauthorized)
				})
				c := newClient(t, m.options, settings(map[string]remote.HostOptions{pipeHost: {MaxConcurrentRequests: 2}}),
					credentials(map[string]auth.Credential{pipeHost: {Username: "ci", Password: canary}}))
				repo := c.push(t, pipeHost+"/app")
				var others sync.WaitGroup
				defer others.Wait()
				lasting, end := context.WithCancel(t.Context())
				defer end()
				for range test.before {
					others.Go(func() { _ = get(lasting, repo) })
				}
				synctest.Wait()
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(100*time.Millisecond, cancel)
				began := newClock()
				_, err := repo.PutBlob(ctx, descriptor(small), newBody(t, small).get())
				if took := began.elapsed() - 100*time.Millisecond; !errors.Is(err, context.Canceled) || took != test.ends {
					t.Errorf("it ended %s after it was cancelled, with %v", took, err)
				}
				if posts.Load() != test.posts {
					t.Errorf("it was asked for %d uploads, want %d", posts.Load(), test.posts)
				}
			})
		})
	}
}
