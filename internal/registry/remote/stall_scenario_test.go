package remote_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// waitUntilDone blocks until the client disconnects or the test ends. A server notices a
// disconnected client only after it has read the whole request.
func waitUntilDone(r *http.Request) { <-r.Context().Done() }

// drip writes content one byte at a time and waits before each byte.
func drip(w io.Writer, r *http.Request, content string, wait time.Duration) {
	for i := range len(content) {
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
			return
		}
		_, _ = io.WriteString(w, content[i:i+1])
		if flusher, ok := w.(http.Flusher); ok {
			flusher.Flush()
		}
	}
}

func TestStall_MissingHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newClock()
		c := newClient(t, servePipes(t, func(_ http.ResponseWriter, r *http.Request) {
			clock.note()
			waitUntilDone(r)
		}).options)
		_, err := c.pull(t, pipeHost+"/app").GetManifest(t.Context(), "1")
		e := assertErrorKind(t, err, registry.ErrUnavailable)
		assertContains(t, e.Error(), "no progress")
		assertContains(t, e.Hint, "stood still")
		if n, took := len(clock.times()), clock.elapsed(); n != 2 || took < 2*time.Minute || took > 3*time.Minute {
			t.Errorf("GetManifest() took %d attempts and %s, want 2 attempts and 2m to 3m", n, took)
		}
	})
}

func TestStall_SlowManifest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newClock()
		m := servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			clock.note()
			w.Header().Set("Content-Type", registry.MediaTypeDockerManifest)
			_ = http.NewResponseController(w).Flush()
			drip(w, r, strings.Repeat(" ", 1000), 50*time.Second)
		})
		c := newClient(t, m.options, singleAttempt)
		_, err := c.pull(t, pipeHost+"/app").GetManifest(t.Context(), "1")
		assertErrorKind(t, err, registry.ErrUnavailable)
		if took := clock.elapsed(); took != time.Minute {
			t.Errorf("GetManifest() took %s, want 1m", took)
		}
	})
}

func TestStall_SlowDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const content = "a byte a minute"
		clock := newClock()
		c := newClient(t, servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			clock.note()
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			drip(w, r, content, 59*time.Second)
		}).options)
		got, err := readAll(t, c.pull(t, pipeHost+"/app"), descriptor(content))
		if err != nil || got != content || len(clock.times()) != 1 {
			t.Errorf("GetBlob() read %q in %d requests, %v; want the content in 1 request", got, len(clock.times()), err)
		}
		if took := clock.elapsed(); took != time.Duration(len(content))*59*time.Second {
			t.Errorf("GetBlob() took %s, want 59s for each byte", took)
		}
	})
}

// Each byte arrives one second after the stall timeout.
func TestStall_TricklingDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const content = "a byte a minute"
		clock := newClock()
		c := newClient(t, servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			clock.note()
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			_ = http.NewResponseController(w).Flush()
			drip(w, r, content, time.Minute+time.Second)
		}).options)
		got, err := readAll(t, c.pull(t, pipeHost+"/app"), descriptor(content))
		assertContains(t, assertErrorKind(t, err, registry.ErrUnavailable).Error(), "no progress")
		if n, took := len(clock.times()), clock.elapsed(); got != "" || n != remote.MaxResumes+1 || took < 6*time.Minute || took > 7*time.Minute {
			t.Errorf("GetBlob() read %q in %d requests and %s, want nothing in 6m to 7m", got, n, took)
		}
	})
}

func TestStall_StoppedDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newClock()
		c := newClient(t, servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			if clock.note(); r.Header.Get("Range") != "" {
				w.Header().Set("Content-Range", "bytes 5-9/10")
				w.WriteHeader(http.StatusPartialContent)
				_ = http.NewResponseController(w).Flush()
			} else {
				w.Header().Set("Content-Length", "10")
				drip(w, r, "01234", 0)
			}
			waitUntilDone(r)
		}).options)
		_, err := readAll(t, c.pull(t, pipeHost+"/app"), descriptor("0123456789"))
		assertContains(t, assertErrorKind(t, err, registry.ErrUnavailable).Error(), "no progress")
		if n, took := len(clock.times()), clock.elapsed(); n != remote.MaxResumes+1 || took < 6*time.Minute || took > 7*time.Minute {
			t.Errorf("GetBlob() took %d requests and %s, want 6m to 7m", n, took)
		}
	})
}

func TestStall_UnreadDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int32
		c := newClient(t, servePipes(t, func(w http.ResponseWriter, _ *http.Request) {
			requests.Add(1)
			_, _ = io.WriteString(w, large)
		}).options)
		blob, err := c.pull(t, pipeHost+"/app").GetBlob(t.Context(), descriptor(large))
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour)
		if _, err := io.ReadFull(blob, make([]byte, 100)); err != nil {
			t.Error(err)
		}
		<-time.After(time.Hour)
		rest, err := io.ReadAll(blob)
		_ = blob.Close()
		if err != nil || string(rest) != large[100:] || requests.Load() != 1 {
			t.Errorf("GetBlob() read %d more bytes in %d requests, %v", len(rest), requests.Load(), err)
		}
	})
}

// uploads returns a handler for a registry that starts upload sessions. It passes the
// content of uploads to put and counts canceled sessions.
func uploads(put http.HandlerFunc, deleted *atomic.Int32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost:
			w.Header().Set("Location", "/upload/1")
			w.WriteHeader(http.StatusAccepted)
		case http.MethodDelete:
			deleted.Add(1)
			w.WriteHeader(http.StatusNoContent)
		case http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		default:
			put(w, r)
		}
	}
}

func TestStall_UnreadUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := newClock()
		var deleted atomic.Int32
		c := newClient(t, singleAttempt, servePipes(t, uploads(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadFull(r.Body, make([]byte, 1000))
			waitUntilDone(r)
		}, &deleted)).options)
		content := newBody(t, large)
		_, err := c.push(t, pipeHost+"/app").PutBlob(t.Context(), descriptor(large), content.get())
		assertContains(t, assertErrorKind(t, err, registry.ErrUnavailable).Error(), "no progress")
		if began.elapsed() != time.Minute || deleted.Load() != 1 {
			t.Errorf("PutBlob() took %s, canceled uploads = %d, want 1m and 1", began.elapsed(), deleted.Load())
		}
	})
}

func TestStall_SlowUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var deleted atomic.Int32
		began := newClock()
		c := newClient(t, servePipes(t, uploads(func(w http.ResponseWriter, r *http.Request) {
			for {
				<-time.After(50 * time.Second)
				if _, err := io.ReadFull(r.Body, make([]byte, 64<<10)); err != nil {
					break
				}
			}
			<-time.After(9 * time.Minute) // the registry moves the blob to its final location
			w.WriteHeader(http.StatusCreated)
		}, &deleted)).options)
		outcome, err := c.push(t, pipeHost+"/app").PutBlob(t.Context(), descriptor(large), newBody(t, large).get())
		if err != nil || outcome != registry.Copied || deleted.Load() != 0 {
			t.Errorf("PutBlob() = %q, %v; want Copied", outcome, err)
		}
		if began.elapsed() < 20*time.Minute {
			t.Errorf("PutBlob() took %s, want at least 20m", began.elapsed())
		}
	})
}

// slow is content that waits before each byte that follows the head.
type slow struct {
	*strings.Reader
	wait time.Duration
	done <-chan struct{}
}

func (s slow) Read(p []byte) (int, error) {
	if head := s.Len() - (len(large) - remote.HeadSize); head > 0 {
		return s.Reader.Read(p[:min(len(p), head)])
	}
	select {
	case <-time.After(s.wait):
		return s.Reader.Read(p[:1])
	case <-s.done:
		return 0, context.Canceled
	}
}

func (slow) Close() error { return nil }

func TestStall_SlowContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var deleted atomic.Int32
		began := newClock()
		c := newClient(t, servePipes(t, uploads(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
		}, &deleted)).options)
		content := registry.Content{Open: func(ctx context.Context) (io.ReadCloser, error) {
			return slow{strings.NewReader("content"), time.Hour, ctx.Done()}, nil
		}}
		outcome, err := c.push(t, pipeHost+"/app").PutBlob(t.Context(), descriptor("content"), content)
		if err != nil || outcome != registry.Copied || began.elapsed() < 7*time.Hour {
			t.Errorf("PutBlob() = %q after %s, %v; want Copied after at least 7h", outcome, began.elapsed(), err)
		}
	})
}

func TestStall_RefusalDuringUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var deleted atomic.Int32
		began := newClock()
		c := newClient(t, servePipes(t, uploads(func(w http.ResponseWriter, r *http.Request) {
			controller := http.NewResponseController(w)
			_ = controller.EnableFullDuplex()
			w.WriteHeader(http.StatusForbidden)
			_ = controller.Flush()
			_, _ = io.Copy(io.Discard, r.Body)
		}, &deleted)).options)
		content := registry.Content{Open: func(ctx context.Context) (io.ReadCloser, error) {
			return slow{strings.NewReader(large), 30 * time.Second, ctx.Done()}, nil
		}}
		_, err := c.push(t, pipeHost+"/app").PutBlob(t.Context(), descriptor(large), content)
		assertErrorKind(t, err, registry.ErrDenied)
		if began.elapsed() > time.Minute {
			t.Errorf("PutBlob() took %s, want at most 1m", began.elapsed())
		}
	})
}

func TestStall_StoppedSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var deleted, puts atomic.Int32
		put := uploads(func(_ http.ResponseWriter, r *http.Request) {
			puts.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
		}, &deleted)
		c := newClient(t, servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Host == pipeHost {
				put(w, r)
				return
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(large)))
			_, _ = io.WriteString(w, large[:remote.HeadSize+1])
			_ = http.NewResponseController(w).Flush()
			waitUntilDone(r)
		}).options, singleAttempt)
		source := c.pull(t, "127.0.0.1:5001/app")
		d := descriptor(large)
		_, err := c.push(t, pipeHost+"/app").PutBlob(t.Context(), d, registry.Content{Open: func(ctx context.Context) (io.ReadCloser, error) {
			return source.GetBlob(ctx, d)
		}})
		// The error is that of the source, so the upload is not retried.
		e := assertErrorKind(t, err, registry.ErrUnavailable)
		if e.Repository != source.Name() || puts.Load() != 1 || deleted.Load() != 1 {
			t.Errorf("upload attempts = %d, canceled uploads = %d, want 1 and 1: %v", puts.Load(), deleted.Load(), err)
		}
	})
}

func TestCancel_EachOperation(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { waitUntilDone(r) }
	put := func(ctx context.Context, r registry.Repository) error {
		_, err := r.PutBlob(ctx, descriptor(large), registry.Content{Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(large)), nil
		}})
		return err
	}
	read := func(ctx context.Context, r registry.Repository) error {
		blob, err := r.GetBlob(ctx, descriptor(large))
		if err == nil {
			_, err = io.Copy(io.Discard, blob)
			_ = blob.Close()
		}
		return err
	}
	var deleted atomic.Int32
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		op      func(context.Context, registry.Repository) error
		change  func(*remote.Options)
	}{
		"connect": {hang, get, func(o *remote.Options) {
			o.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		}},
		"wait_for_headers": {hang, get, nil},
		"read_manifest": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", registry.MediaTypeDockerManifest)
			drip(w, r, large, time.Second)
		}, get, nil},
		"read_error": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			drip(w, r, large, time.Second)
		}, get, nil},
		"read_blob": {func(w http.ResponseWriter, r *http.Request) { drip(w, r, large, time.Second) }, read, nil},
		"wait_before_resume": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(large)))
			drip(w, r, "0", 0)
			panic(http.ErrAbortHandler)
		}, read, func(o *remote.Options) { o.Backoff = time.Hour }},
		"wait_before_retry": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "100")
			w.WriteHeader(http.StatusTooManyRequests)
		}, get, nil},
		"fetch_token": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				waitUntilDone(r)
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+pipeHost+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, get, nil},
		"start_upload":    {hang, put, nil},
		"upload":          {uploads(hang, &deleted), put, nil},
		"wait_for_commit": {uploads(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); waitUntilDone(r) }, &deleted), put, nil},
		"cancel_upload": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.Header().Set("Location", "/upload")
				w.WriteHeader(http.StatusAccepted)
				return
			}
			waitUntilDone(r)
		}, put, nil},
		"tls_handshake": {hang, get, func(o *remote.Options) {
			no := false
			o.Hosts = map[string]remote.HostOptions{pipeHost: {PlainHTTP: &no}}
			o.Dial = func(context.Context, string, string) (net.Conn, error) { conn, _ := net.Pipe(); return conn, nil }
		}},
		"wait_for_slot": {hang, func(ctx context.Context, r registry.Repository) error {
			_, err := r.Resolve(ctx, "1")
			return err
		}, func(o *remote.Options) {
			o.Hosts = map[string]remote.HostOptions{pipeHost: {MaxConcurrentRequests: 2}}
		}},
		"wait_for_rate_limit": {hang, func(ctx context.Context, r registry.Repository) error {
			_, err := r.Resolve(ctx, "1")
			return err
		}, func(o *remote.Options) {
			o.Hosts = map[string]remote.HostOptions{pipeHost: {RequestsPerSecond: 0.001}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, servePipes(t, test.handler).options, func(o *remote.Options) {
					if test.change != nil {
						test.change(o)
					}
				})
				ctx, cancel := context.WithCancel(t.Context())
				repo := c.push(t, pipeHost+"/app")
				var others sync.WaitGroup
				defer others.Wait()
				if name == "wait_for_slot" || name == "wait_for_rate_limit" {
					for range 2 {
						others.Go(func() { _, _ = repo.Resolve(ctx, "0") })
					}
					synctest.Wait()
				}
				var canceled time.Time
				time.AfterFunc(10*time.Second, func() { canceled = time.Now(); cancel() })
				err := test.op(ctx, repo)
				if took := time.Since(canceled); canceled.IsZero() || took >= time.Second {
					t.Errorf("the operation ended %s after the cancellation, want less than 1s: %v", took, err)
				}
				if !errors.Is(err, context.Canceled) {
					t.Errorf("error = %v, want context.Canceled", err)
				}
			})
		})
	}
	if deleted.Load() != 2 {
		t.Errorf("canceled uploads = %d, want 2", deleted.Load())
	}
}

// net/http finishes a dial in the background after its request ends, so that a later
// request can use the connection. This package closes the pending connection when the
// operation ends.
func TestCancel_PendingConnection(t *testing.T) {
	discardLog := func(*testing.T, net.Conn) {}
	for name, test := range map[string]struct {
		proxy string
		serve func(*testing.T, net.Conn) // until the client waits for a response that never comes
	}{
		"handshake":            {"", discardLog},
		"proxy_response":       {"http://proxy.example.net:3128", discardLog},
		"proxy_handshake":      {"https://proxy.example.net:3129", discardLog},
		"socks_proxy_response": {"socks5://proxy.example.net:1080", discardLog},
		"handshake_through_proxy": {"http://proxy.example.net:3128", func(t *testing.T, conn net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		}},
	} {
		for _, target := range []string{"registry", "redirect"} {
			t.Run(name+"_of_"+target, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					began := newClock()
					var closed atomic.Int64
					var serving sync.WaitGroup
					m := servePipes(t, redirect("https://203.0.113.9/there"))
					host := map[string]string{"registry": "203.0.113.9", "redirect": "203.0.113.8"}[target]
					yes := true
					c := newClient(t, func(o *remote.Options) {
						o.Hosts = map[string]remote.HostOptions{"203.0.113.8": {PlainHTTP: &yes}}
						o.Resolve = func(context.Context, string) ([]netip.Addr, error) {
							return []netip.Addr{netip.MustParseAddr("10.9.9.9")}, nil
						}
						o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
							if address == "203.0.113.8:80" {
								return m.dial(ctx, network, address)
							}
							client, server := net.Pipe()
							serving.Go(func() {
								test.serve(t, server)
								_, _ = io.Copy(io.Discard, server)
								closed.Store(int64(began.elapsed()))
								_ = server.Close()
							})
							return client, nil
						}
						o.Proxy = func(r *http.Request) (*url.URL, error) {
							if test.proxy == "" || r.URL.Host == "203.0.113.8" {
								return nil, nil
							}
							return url.Parse(test.proxy)
						}
					})
					ctx, cancel := context.WithCancel(t.Context())
					time.AfterFunc(time.Second, cancel)
					if err := get(ctx, c.pull(t, host+"/app")); !errors.Is(err, context.Canceled) {
						t.Errorf("GetManifest() = %v, want context.Canceled", err)
					}
					serving.Wait()
					if at := time.Duration(closed.Load()); at != time.Second || began.elapsed() != time.Second {
						t.Errorf("the operation ended after %s and the connection after %s, want both after 1s", began.elapsed(), at)
					}
				})
			})
		}
	}
}

func TestStall_SlowChunkResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var deleted atomic.Int32
		var log logBuffer
		c := newClient(t, singleAttempt, servePipes(t, uploads(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			fmt.Fprint(&log, r.Method, " ", r.URL.Path, ", ")
			<-time.After(9 * time.Minute)
			w.Header().Set("Location", r.URL.Path+"1") // each response has a new location
			w.WriteHeader(map[string]int{http.MethodPatch: http.StatusAccepted, http.MethodPut: http.StatusCreated}[r.Method])
		}, &deleted)).options)
		c.ForceChunked(pipeHost, 1<<19)
		outcome, err := c.push(t, pipeHost+"/app").PutBlob(t.Context(), descriptor(large), newBody(t, large).get())
		if err != nil || outcome != registry.Copied || deleted.Load() != 0 {
			t.Errorf("PutBlob() = %q, %v; want Copied", outcome, err)
		}
		if got := log.String(); got != "PATCH /upload/1, PATCH /upload/11, PUT /upload/111, " {
			t.Errorf("requests = %s, want PATCH /upload/1, PATCH /upload/11, PUT /upload/111, ", got)
		}
	})
}

func TestStall_MissingChunkResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := newClock()
		var deleted atomic.Int32
		c := newClient(t, singleAttempt, servePipes(t, uploads(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			waitUntilDone(r)
		}, &deleted)).options)
		c.ForceChunked(pipeHost, 1<<19)
		_, err := c.push(t, pipeHost+"/app").PutBlob(t.Context(), descriptor(large), newBody(t, large).get())
		assertContains(t, assertErrorKind(t, err, registry.ErrUnavailable).Error(), "no progress")
		if began.elapsed() > time.Hour || deleted.Load() != 1 {
			t.Errorf("PutBlob() took %s, canceled uploads = %d, want at most 1h and 1", began.elapsed(), deleted.Load())
		}
	})
}
