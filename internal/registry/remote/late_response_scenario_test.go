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

// The client drains the rest of an unneeded response only to reuse the connection. It does
// so for a limited time, shorter than for a response that it needs.
func TestResponseBody_DrainTimeout(t *testing.T) {
	drips := func(w http.ResponseWriter, r *http.Request, status int) {
		w.Header().Set("Content-Length", "4000")
		w.WriteHeader(status)
		_ = http.NewResponseController(w).Flush()
		drip(w, r, strings.Repeat("x", 4000), 10*time.Second)
	}
	for name, test := range map[string]struct {
		handler func(w http.ResponseWriter, r *http.Request, number int)
		do      func(context.Context, registry.Repository) error
		want    error // nil if the operation succeeds
		bodies  int
	}{
		"redirects": {func(w http.ResponseWriter, r *http.Request, number int) {
			if number == 6 {
				serveManifest(w, r)
				return
			}
			w.Header().Set("Location", "/v2/app/manifests/1")
			drips(w, r, http.StatusTemporaryRedirect)
		}, get, nil, 5},
		"endless_redirects": {func(w http.ResponseWriter, r *http.Request, _ int) {
			w.Header().Set("Location", "/v2/app/manifests/1")
			drips(w, r, http.StatusTemporaryRedirect)
		}, get, registry.ErrProtocol, remote.MaxRedirects + 1},
		"challenge": {func(w http.ResponseWriter, r *http.Request, number int) {
			if number == 2 {
				serveManifest(w, r)
				return
			}
			w.Header().Set("WWW-Authenticate", "Basic")
			drips(w, r, http.StatusUnauthorized)
		}, get, nil, 1},
		"upload": {func(w http.ResponseWriter, r *http.Request, number int) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Location", "/upload")
			drips(w, r, map[bool]int{true: http.StatusAccepted, false: http.StatusCreated}[number == 1])
		}, upload(t), nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests atomic.Int32
				clock := newClock()
				c := newClient(t, servePipes(t, func(w http.ResponseWriter, r *http.Request) {
					test.handler(w, r, int(requests.Add(1)))
				}).options, singleAttempt, credentials(map[string]auth.Credential{pipeHost: {Username: "ci", Password: canary}}))
				err := test.do(t.Context(), c.push(t, pipeHost+"/app"))
				took := clock.elapsed()
				if !errors.Is(err, test.want) || test.want == nil && err != nil {
					t.Errorf("error = %v, want %v", err, test.want)
				}
				if most := time.Duration(test.bodies) * time.Second; took > most {
					t.Errorf("%d responses took %s, want at most %s", requests.Load(), took, most)
				}
			})
		})
	}
}

// An upload session may exist at the registry before its response arrives.
func TestPutBlob_CanceledWhileStarting(t *testing.T) {
	const canceled = 150 * time.Millisecond
	for name, test := range map[string]struct {
		opens   time.Duration // when the registry responds
		deleted int32
		ends    time.Duration // maximum time after the cancellation
	}{
		"before_cancel":            {100 * time.Millisecond, 1, 0},
		"shortly_after_cancel":     {400 * time.Millisecond, 1, 250 * time.Millisecond},
		"half_second_after_cancel": {650 * time.Millisecond, 1, 500 * time.Millisecond},
		"after_grace_period":       {time.Hour, 0, 999 * time.Millisecond},
	} {
		for kind, force := range map[string]bool{"mount": false, "force": true} {
			t.Run(name+"_"+kind, func(t *testing.T) {
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
					time.AfterFunc(canceled, cancel)
					began := newClock()
					content := registry.Content{Force: force, Open: func(ctx context.Context) (io.ReadCloser, error) {
						<-ctx.Done()
						return nil, context.Cause(ctx)
					}}
					_, err := newClient(t, m.options).push(t, pipeHost+"/app").PutBlob(ctx, descriptor(small), content)
					if took := began.elapsed() - canceled; !errors.Is(err, context.Canceled) || took < 0 || took > test.ends {
						t.Errorf("PutBlob() ended %s after the cancellation with %v, want %s and context.Canceled", took, err, test.ends)
					}
					if opened.Load() != 1 || deleted.Load() != test.deleted {
						t.Errorf("uploads started = %d, canceled = %d, want 1 and %d", opened.Load(), deleted.Load(), test.deleted)
					}
				})
			})
		}
	}
}

func TestPutBlob_CanceledBeforeStart(t *testing.T) {
	for name, test := range map[string]struct {
		before int // active requests; the limit is two
		posts  int32
		ends   time.Duration // time after the cancellation
	}{
		"waiting_for_slot": {2, 0, 0},
		"challenged":       {1, 1, 100 * time.Millisecond},
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
					t.Errorf("PutBlob() ended %s after the cancellation with %v, want %s and context.Canceled", took, err, test.ends)
				}
				if posts.Load() != test.posts {
					t.Errorf("upload requests = %d, want %d", posts.Load(), test.posts)
				}
			})
		})
	}
}
