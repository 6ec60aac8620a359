package remote_test

import (
	"context"
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
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

func TestHostLimit_MaxConcurrentRequests(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	gate := make(chan struct{})
	p.On("HEAD", ".*").Hold(gate)
	c := newClient(t, settings(map[string]remote.HostOptions{p.Addr: {MaxConcurrentRequests: 4}}))
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := c.pull(t, p.Ref("app", "1")).Resolve(t.Context(), "1"); err != nil {
				t.Error(err)
			}
		})
	}
	p.Wait(t, func() bool { return p.Active() == 4 })
	close(gate)
	all.Wait()
	if p.Peak() != 4 {
		t.Errorf("concurrent requests = %d, want 4", p.Peak())
	}
}

// repeating returns a handler that fails the first two requests for each path and then
// responds with a digest.
func repeating(fail http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	requests := map[string]int{}
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests[r.URL.Path]++
		succeed := requests[r.URL.Path] > 2
		mu.Unlock()
		if !succeed {
			fail(w, r)
			return
		}
		w.Header().Set("Docker-Content-Digest", string(descriptor("x").Digest))
	}
}

func TestHostLimit_Retries(t *testing.T) {
	for name, fail := range map[string]http.HandlerFunc{
		"unavailable":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"throttled":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"connection_closed": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"redirected":        func(w http.ResponseWriter, r *http.Request) { redirect(r.URL.Path)(w, r) },
	} {
		for kind, limits := range map[string]remote.HostOptions{"concurrent": {MaxConcurrentRequests: 3}, "per_second": {RequestsPerSecond: 0.5}} {
			t.Run(name+"_"+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var active, peak atomic.Int32
					clock, handler := newClock(), repeating(fail)
					c := newClient(t, settings(map[string]remote.HostOptions{pipeHost: limits}), servePipes(t, func(w http.ResponseWriter, r *http.Request) {
						clock.note()
						peak.Store(max(peak.Load(), active.Add(1)))
						<-time.After(time.Second)
						active.Add(-1)
						handler(w, r)
					}).options)
					var all sync.WaitGroup
					for i := range 10 {
						all.Go(func() {
							if _, err := c.pull(t, pipeHost+"/app").Resolve(t.Context(), fmt.Sprint(i)); err != nil {
								t.Error(err)
							}
						})
					}
					all.Wait()
					at, most := clock.times(), int32(1) // a request takes half of the interval
					if limits.MaxConcurrentRequests > 0 {
						most = 3
					}
					if len(at) != 30 || peak.Load() != most {
						t.Errorf("requests = %d, concurrent = %d, want 30 and %d", len(at), peak.Load(), most)
					}
					for i := 1; limits.RequestsPerSecond > 0 && i < len(at); i++ {
						if after := at[i] - at[i-1]; after.Round(time.Millisecond) < 2*time.Second {
							t.Errorf("interval before request %d = %s, want at least 2s", i, after)
						}
					}
				})
			})
		}
	}
}

func TestHostLimit_ActiveUntilBodyRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var active, peak atomic.Int32
		gate := make(chan struct{})
		m := servePipes(t, func(w http.ResponseWriter, _ *http.Request) {
			peak.Store(max(peak.Load(), active.Add(1)))
			w.Header().Set("Content-Type", registry.MediaTypeDockerManifest)
			_ = http.NewResponseController(w).Flush()
			<-gate
			active.Add(-1)
			_, _ = w.Write([]byte("{}"))
		})
		c := newClient(t, m.options, settings(map[string]remote.HostOptions{pipeHost: {MaxConcurrentRequests: 2}}))
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				if _, err := c.pull(t, pipeHost+"/app").GetManifest(t.Context(), "1"); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // for the rest of the responses
		if n := active.Load(); n != 2 {
			t.Errorf("active requests = %d, want 2", n)
		}
		close(gate)
		all.Wait()
		if peak.Load() != 2 {
			t.Errorf("concurrent requests = %d, want 2", peak.Load())
		}
	})
}

func TestHostLimit_SharedByRepositories(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	gate := make(chan struct{})
	p.On("HEAD", ".*").Hold(gate)
	c := newClient(t, settings(map[string]remote.HostOptions{p.Addr: {MaxConcurrentRequests: 2}}))
	var all sync.WaitGroup
	for _, repo := range []string{"a", "b", "c", "d"} {
		all.Go(func() { _, _ = c.pull(t, p.Ref(repo, "1")).Resolve(t.Context(), "1") })
	}
	p.Wait(t, func() bool { return p.Active() == 2 })
	close(gate)
	all.Wait()
	if p.Peak() != 2 {
		t.Errorf("concurrent requests = %d, want 2", p.Peak())
	}
}

func TestHostLimit_DownloadWaits(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.PushBlob(t, "app", registrytest.Blob{Content: []byte("content")})
	c := newClient(t, settings(map[string]remote.HostOptions{p.Addr: {MaxConcurrentRequests: 2}}))
	repo := c.pull(t, p.Ref("app", "1"))
	first, err := repo.GetBlob(t.Context(), descriptor("content"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("waited long enough"))
	defer cancel()
	_, err = repo.GetBlob(ctx, descriptor("content"))
	assertContains(t, assertErrorKind(t, err, registry.ErrUnavailable).Error(), "waited long enough")
	if _, err := repo.StatBlob(t.Context(), descriptor("content").Digest); err != nil {
		t.Errorf("StatBlob() during a download = %v", err)
	}
	_ = first.Close()
	second, err := repo.GetBlob(t.Context(), descriptor("content"))
	if err != nil {
		t.Fatal(err)
	}
	_ = second.Close()
}

func TestHostLimit_SmallRequestsDuringUploads(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	gate := make(chan struct{})
	p.On("PUT", ".*").Where(func(r *http.Request) bool { return r.ContentLength >= 1<<20 }).Hold(gate)
	c := newClient(t, settings(map[string]remote.HostOptions{p.Addr: {MaxConcurrentRequests: 3}}))
	repo := c.push(t, p.Ref("app", "1"))
	put := func(content string) {
		if _, err := repo.PutBlob(t.Context(), descriptor(content), newBody(t, content).get()); err != nil {
			t.Error(err)
		}
	}
	var all sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		all.Go(func() { put(large + name) })
	}
	p.Wait(t, func() bool { return p.Active() == 2 && p.Count("POST", ".*") == 4 && p.Count("HEAD", ".*") == 4 })
	put(small)
	close(gate)
	all.Wait()
	if p.Peak() != 3 {
		t.Errorf("concurrent requests = %d, want 3", p.Peak())
	}
}

func TestHostLimit_TooManyRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refusing atomic.Bool
		refusing.Store(true)
		var together sync.WaitGroup
		together.Add(16)
		m := servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Host == pipeHost && refusing.Load() {
				together.Done()
				together.Wait()
				w.Header().Set("Retry-After", "30")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			w.Header().Set("Docker-Content-Digest", string(descriptor("x").Digest))
		})
		const other = "127.0.0.1:5001"
		c := newClient(t, m.options)
		began := newClock()
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				if _, err := c.pull(t, pipeHost+"/app").Resolve(t.Context(), "1"); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // all requests were refused and are waiting
		if n := c.Allowed(pipeHost); n != 8 {
			t.Errorf("Allowed() after a burst of 429 = %d, want 8", n)
		}
		for range 16 {
			if _, err := c.pull(t, other+"/app").Resolve(t.Context(), "1"); err != nil {
				t.Error(err)
			}
		}
		if began.elapsed() != 0 || c.Allowed(other) != 16 {
			t.Errorf("requests to the other host took %s, Allowed() = %d, want no wait and 16", began.elapsed(), c.Allowed(other))
		}
		refusing.Store(false)
		all.Wait()
		if n := c.Allowed(pipeHost); n <= 8 || n >= 16 {
			t.Errorf("Allowed() after the successes = %d, want 9 to 15", n)
		}
	})
}

func TestHostLimit_RequestsPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newClock()
		m := servePipes(t, func(w http.ResponseWriter, _ *http.Request) {
			clock.note()
			w.Header().Set("Docker-Content-Digest", string(descriptor("x").Digest))
		})
		c := newClient(t, m.options, settings(map[string]remote.HostOptions{pipeHost: {RequestsPerSecond: 4}}))
		var all sync.WaitGroup
		for range 9 {
			all.Go(func() { _, _ = c.pull(t, pipeHost+"/app").Resolve(t.Context(), "1") })
		}
		all.Wait()
		at := clock.times()
		for i := range at {
			if want := time.Duration(i) * time.Second / 4; at[i] != want {
				t.Errorf("time of request %d = %s, want %s", i, at[i], want)
			}
		}
		// A request that would have to wait beyond its deadline fails at once.
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		before := clock.elapsed()
		_, err := c.pull(t, pipeHost+"/app").Resolve(ctx, "1")
		if e := assertErrorKind(t, err, registry.ErrUnavailable); !strings.HasSuffix(e.Error(), `: requests_per_second leaves no time for another request`) {
			t.Errorf("error = %q, want it to name requests_per_second", e)
		}
		if clock.elapsed() != before {
			t.Errorf("Resolve() took %s, want no wait", clock.elapsed()-before)
		}
	})
}

// readInFlow reads a blob of pipeHost in the given flow, and returns how long after since
// it was complete.
func (c *client) readInFlow(t *testing.T, flow string, d registry.Descriptor, since time.Time) time.Duration {
	t.Helper()
	content, err := c.pull(t, pipeHost+"/app").GetBlob(registry.WithFlow(t.Context(), flow), d)
	if err == nil {
		_, err = io.Copy(io.Discard, content)
		err = errors.Join(err, content.Close())
	}
	if err != nil {
		t.Error(err)
	}
	return time.Since(since)
}

// A download that waits before its next attempt releases its slot.
func TestGetBlob_PauseReleasesSlot(t *testing.T) {
	for name, status := range map[string]int{"unavailable": http.StatusServiceUnavailable, "throttled": http.StatusTooManyRequests} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const pause = 2 * time.Minute
				slow, fast := descriptor("slow"), descriptor("fast")
				var refused atomic.Bool
				c := newClient(t, settings(map[string]remote.HostOptions{pipeHost: {MaxConcurrentRequests: 2}}), servePipes(t, func(w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, string(slow.Digest)) && refused.CompareAndSwap(false, true) {
						w.Header().Set("Retry-After", fmt.Sprint(pause.Seconds()))
						w.WriteHeader(status)
						return
					}
					_, _ = io.WriteString(w, map[bool]string{true: "slow", false: "fast"}[strings.HasSuffix(r.URL.Path, string(slow.Digest))])
				}).options)
				began := time.Now()
				var both sync.WaitGroup
				both.Go(func() {
					if took := c.readInFlow(t, "slow", slow, began); took < pause {
						t.Errorf("the refused download took %s, want at least %s", took, pause)
					}
				})
				synctest.Wait()
				if took := c.readInFlow(t, "fast", fast, began); took >= pause {
					t.Errorf("another download took %s, want less than the pause of the first", took)
				}
				both.Wait()
			})
		})
	}
}

// A download that is redirected to a host that does not respond passes its slot to
// others.
func TestGetBlob_RedirectToSilentHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const silence = 40 * time.Second
		slow, fast := descriptor("slow"), descriptor("fast")
		c := newClient(t, settings(map[string]remote.HostOptions{pipeHost: {MaxConcurrentRequests: 2}}), servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Host != pipeHost:
				select {
				case <-time.After(silence):
					_, _ = io.WriteString(w, "slow")
				case <-r.Context().Done():
				}
			case strings.HasSuffix(r.URL.Path, string(slow.Digest)):
				redirect("http://127.0.0.1:6001/slow")(w, r)
			default:
				_, _ = io.WriteString(w, "fast")
			}
		}).options)
		began := time.Now()
		var both sync.WaitGroup
		both.Go(func() { c.readInFlow(t, "slow", slow, began) })
		synctest.Wait()
		if took := c.readInFlow(t, "fast", fast, began); took >= silence {
			t.Errorf("another download took %s, want less than the silence of the other host", took)
		}
		both.Wait()
	})
}
