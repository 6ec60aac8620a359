package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// part is the size of the ranges in these tests. The blob "large" has sixteen of them.
const part = 64 << 10

// newRangeClient returns a registry with a large blob, and a client that reads the blob in
// ranges over the given number of additional connections. When the test ends, no buffer
// must be in use.
func newRangeClient(t *testing.T, workers int) (*registrytest.Proxy, *client) {
	t.Helper()
	p := scripted(t, registrytest.Behaviour{})
	p.PushBlob(t, "app", registrytest.Blob{Content: []byte(large)})
	c := newClient(t)
	c.ForceRanges(part, workers)
	t.Cleanup(func() {
		if used := c.UsedBuffers(); used != 0 {
			t.Errorf("used buffers = %d, want 0", used)
		}
	})
	return p, c
}

func isRange(r *http.Request) bool { return r.Header.Get("Range") != "" }

func TestParallelDownload_Ranges(t *testing.T) {
	p, c := newRangeClient(t, 3)
	got, err := readAll(t, c.push(t, p.Ref("app", "1")), descriptor(large))
	if err != nil || got != large {
		t.Fatalf("GetBlob() read %d bytes, %v; want %d", len(got), err, len(large))
	}
	requested := map[int]bool{}
	for i, r := range p.Requests() {
		if i == 0 {
			if r.Header.Get("Range") != "" {
				t.Errorf("Range of the first request = %q, want none", r.Header.Get("Range"))
			}
			continue
		}
		from, to := 0, len(large)-1 // the last range has no end
		if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); n == 0 || requested[from] || to != min(from+part, len(large))-1 {
			t.Errorf("Range = %q, want one range of the blob", r.Header.Get("Range"))
		}
		requested[from] = true
	}
	// One range is read to measure the connection, and one more while the other
	// connections start. The size of each read decides where exactly that happens.
	if n := len(requested); n < 13 || n > 14 {
		t.Errorf("requested ranges = %d, want all but the first two or three of 16", n)
	}
	if p.Peak() > 4 {
		t.Errorf("concurrent requests = %d, want at most 4", p.Peak())
	}
	if _, retries := c.sent(); retries != 0 {
		t.Errorf("retries = %d, want 0", retries)
	}
}

func TestParallelDownload_RangeIgnored(t *testing.T) {
	p, c := newRangeClient(t, 3)
	p.On("GET", ".*").Where(isRange).Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Range")
		next.ServeHTTP(w, r)
	})
	repo := c.pull(t, p.Ref("app", "1"))
	for range 2 {
		if got, err := readAll(t, repo, descriptor(large)); err != nil || got != large {
			t.Fatalf("GetBlob() read %d bytes, %v; want %d", len(got), err, len(large))
		}
	}
	// The first request, three ranges and the rest of the blob; then one request.
	if n := len(p.Requests()); n > 6 {
		t.Errorf("requests = %d, want at most 6", n)
	}
	if last := p.Requests()[len(p.Requests())-1]; last.Header.Get("Range") != "" {
		t.Errorf("Range of the request for the second blob = %q, want none", last.Header.Get("Range"))
	}
}

// A gateway may reject a Range as an attack or handle it incorrectly. The client then
// reads the blob over one connection.
func TestParallelDownload_RangeRefused(t *testing.T) {
	for _, status := range []int{403, 404, 416, 500} {
		p, c := newRangeClient(t, 3)
		p.On("GET", ".*").Where(isRange).Reply(status, nil, "")
		repo := c.pull(t, p.Ref("app", "1"))
		if got, err := readAll(t, repo, descriptor(large)); err != nil || got != large {
			t.Fatalf("HTTP %d: GetBlob() read %d bytes, %v; want %d", status, len(got), err, len(large))
		}
		p.Forget()
		if got, err := readAll(t, repo, descriptor(large)); err != nil || got != large {
			t.Fatalf("HTTP %d: GetBlob() read %d bytes, %v; want %d", status, len(got), err, len(large))
		}
		if n := len(p.Requests()); status < 500 && n != 1 {
			t.Errorf("HTTP %d: requests for the next blob = %d, want 1", status, n)
		}
	}
}

func TestParallelDownload_ResumesPart(t *testing.T) {
	p, c := newRangeClient(t, 3)
	p.On("GET", ".*").Where(isRange).Times(2).Cut(part / 2)
	if got, err := readAll(t, c.pull(t, p.Ref("app", "1")), descriptor(large)); err != nil || got != large {
		t.Fatalf("GetBlob() read %d bytes, %v; want %d", len(got), err, len(large))
	}
}

func TestParallelDownload_WrongContentRange(t *testing.T) {
	p, c := newRangeClient(t, 3)
	// Only a range that does not reach the end of the blob has an end. The response with
	// the rest of the blob stays unchanged.
	isPart := func(r *http.Request) bool { return isRange(r) && !strings.HasSuffix(r.Header.Get("Range"), "-") }
	p.On("GET", ".*").Where(isPart).Alter(func(r *http.Response) {
		r.Header.Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", part-1, len(large)))
	})
	if got, err := readAll(t, c.pull(t, p.Ref("app", "1")), descriptor(large)); err != nil || got != large {
		t.Fatalf("GetBlob() read %d bytes, %v; want %d", len(got), err, len(large))
	}
}

func TestParallelDownload_CorruptPart(t *testing.T) {
	p, c := newRangeClient(t, 3)
	p.On("GET", ".*").Where(isRange).Times(1).Alter(func(r *http.Response) {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(strings.NewReader(strings.Repeat("wrong ", part)), part), r.Body}
	})
	got, err := readAll(t, c.pull(t, p.Ref("app", "1")), descriptor(large))
	assertErrorKind(t, err, registry.ErrMismatch)
	if len(got) == len(large) {
		t.Error("GetBlob() returned all bytes although some were wrong")
	}
}

func TestParallelDownload_HalfOfHostLimit(t *testing.T) {
	p, _ := newRangeClient(t, 8)
	c := newClient(t, func(o *remote.Options) {
		o.Hosts = map[string]remote.HostOptions{p.Addr: {MaxConcurrentRequests: 6}}
	})
	c.ForceRanges(part, 8)
	if got, err := readAll(t, c.pull(t, p.Ref("app", "1")), descriptor(large)); err != nil || got != large {
		t.Fatalf("GetBlob() read %d bytes, %v; want %d", len(got), err, len(large))
	}
	if p.Peak() > 3 {
		t.Errorf("concurrent requests = %d, want at most 3", p.Peak())
	}
}

func TestParallelDownload_BufferLimit(t *testing.T) {
	p, c := newRangeClient(t, 6)
	var reading sync.WaitGroup
	for range 5 {
		reading.Go(func() {
			if got, err := readAll(t, c.pull(t, p.Ref("app", "1")), descriptor(large)); err != nil || got != large {
				t.Errorf("GetBlob() read %d bytes, %v; want %d", len(got), err, len(large))
			}
		})
	}
	reading.Wait()
	if most := 5 + remote.MaxBuffers; p.Peak() > most {
		t.Errorf("concurrent requests = %d, want at most %d", p.Peak(), most)
	}
}

func TestParallelDownload_EndsWithReader(t *testing.T) {
	for name, end := range map[string]func(io.Closer, context.CancelFunc){
		"closed":   func(blob io.Closer, _ context.CancelFunc) { _ = blob.Close() },
		"canceled": func(_ io.Closer, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			registrytest.NoLeaks(t)
			p, c := newRangeClient(t, 3)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			blob, err := c.pull(t, p.Ref("app", "1")).GetBlob(ctx, descriptor(large))
			if err != nil {
				t.Fatal(err)
			}
			defer blob.Close()
			if _, err := io.CopyN(io.Discard, blob, 5*part); err != nil {
				t.Fatal(err)
			}
			end(blob, cancel)
			if _, err := io.Copy(io.Discard, blob); err == nil || errors.Is(err, registry.ErrMismatch) {
				t.Errorf("Read() after the end = %v, want an error", err)
			}
		})
	}
}

func TestParallelDownload_BuffersPerHost(t *testing.T) {
	p, _ := newRangeClient(t, 6)
	c := newClient(t, settings(map[string]remote.HostOptions{p.Addr: {MaxConcurrentRequests: 64}}))
	c.ForceRanges(part, 6)
	other := scripted(t, registrytest.Behaviour{})
	other.PushBlob(t, "app", registrytest.Blob{Content: []byte(large)})
	gate := make(chan struct{})
	p.On("GET", ".*/blobs/.*").Where(isRange).Hold(gate)
	var reading sync.WaitGroup
	for range 2 {
		reading.Go(func() {
			if got, err := readAll(t, c.pull(t, p.Ref("app", "1")), descriptor(large)); err != nil || got != large {
				t.Errorf("GetBlob() read %d bytes, %v; want %d", len(got), err, len(large))
			}
		})
	}
	p.Wait(t, func() bool { return c.UsedBuffers() == remote.MaxBuffers })
	if got, err := readAll(t, c.pull(t, other.Ref("app", "1")), descriptor(large)); err != nil || got != large {
		t.Errorf("GetBlob() read %d bytes, %v; want %d", len(got), err, len(large))
	}
	if n := other.Count("GET", ".*/blobs/.*"); n < 2 {
		t.Errorf("requests for the blob of the other host = %d, want several ranges", n)
	}
	close(gate)
	reading.Wait()
}

// pacedWriter writes at most 32 KiB in 10 ms.
type pacedWriter struct{ http.ResponseWriter }

func (w pacedWriter) Write(p []byte) (int, error) {
	<-time.After(10 * time.Millisecond)
	n, err := w.ResponseWriter.Write(p)
	return n, errors.Join(err, http.NewResponseController(w.ResponseWriter).Flush())
}

// serveLarge serves the blob large, or the requested range of it.
func serveLarge(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(pacedWriter{w}, r, "", time.Time{}, strings.NewReader(large))
}

// isPart reports whether r requests a range that does not extend to the end of the blob.
func isPart(r *http.Request) bool {
	return isRange(r) && !strings.HasSuffix(r.Header.Get("Range"), "-")
}

// Parts that are redirected to another registry never wait for its slots, which the
// download itself may hold.
func TestParallelDownload_RedirectToAnotherRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := remote.HostOptions{MaxConcurrentRequests: 4}
		c := newClient(t, settings(map[string]remote.HostOptions{pipeHost: limit, anotherHost: limit}), servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Host != anotherHost {
				redirect("http://"+anotherHost+r.URL.Path)(w, r)
				return
			}
			if isPart(r) {
				t.Errorf("%s received a request for a part", anotherHost)
			}
			serveLarge(w, r)
		}).options)
		c.ForceRanges(part, 6)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				r, err := c.pull(t, pipeHost+"/app").GetBlob(registry.WithFlow(ctx, fmt.Sprint(i)), descriptor(large))
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
	})
}

// A download that waits for parts that do not arrive gives its slot to another flow, as
// any other one.
func TestParallelDownload_SilentParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Of the eight slots, downloads get six. The large one takes three of them, because
		// it starts when half of the slots are free.
		small, endless := descriptor("small"), descriptor("endless")
		c := newClient(t, settings(map[string]remote.HostOptions{pipeHost: {MaxConcurrentRequests: 8}}), servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, string(small.Digest)):
				_, _ = io.WriteString(w, "small")
			case strings.HasSuffix(r.URL.Path, string(endless.Digest)):
				<-time.After(50 * time.Second)
				_, _ = io.WriteString(w, "endless")
			case isPart(r):
				<-r.Context().Done()
			default:
				serveLarge(w, r)
			}
		}).options)
		c.ForceRanges(part, 2)
		began := time.Now()
		var both sync.WaitGroup
		both.Go(func() { c.readInFlow(t, "large", descriptor(large), began) })
		<-time.After(time.Second)
		for i := range 3 {
			both.Go(func() { c.readInFlow(t, fmt.Sprint("endless ", i), endless, began) })
		}
		<-time.After(time.Second)
		if took := c.readInFlow(t, "small", small, time.Now()); took > 10*time.Second {
			t.Errorf("another download took %s, want less than the parts are silent", took)
		}
		both.Wait()
	})
}

// A part is not retried while it holds a slot: the blob is read over a single connection.
func TestParallelDownload_ThrottledParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			if isPart(r) {
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			serveLarge(w, r)
		}).options)
		c.ForceRanges(part, 3)
		began := time.Now()
		if took := c.readInFlow(t, "large", descriptor(large), began); took >= time.Minute {
			t.Errorf("GetBlob() took %s, want less than the pause of the parts", took)
		}
	})
}
