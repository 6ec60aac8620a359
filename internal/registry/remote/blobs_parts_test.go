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

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// part is how large the parts of these tests are: "large" has sixteen.
const part = 64 << 10

// inParts is a registry with a large blob, and a client that reads it in parts.
// When the test ends, nobody holds a buffer any more.
func newRangeClient(t *testing.T, lanes int) (*registrytest.Proxy, *client) {
	t.Helper()
	p := scripted(t, registrytest.Behaviour{})
	p.PushBlob(t, "app", registrytest.Blob{Content: []byte(large)})
	c := newClient(t)
	c.ForceRanges(part, lanes)
	t.Cleanup(func() {
		if used := c.UsedBuffers(); used != 0 {
			t.Errorf("%d buffers are in use, want none", used)
		}
	})
	return p, c
}

func isRange(r *http.Request) bool { return r.Header.Get("Range") != "" }

func TestParallelDownload_Ranges(t *testing.T) {
	p, c := newRangeClient(t, 3)
	got, err := readAll(t, c.push(t, p.Ref("app", "1")), descriptor(large))
	if err != nil || got != large {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
	asked := map[int]bool{}
	for i, r := range p.Requests() {
		if i == 0 {
			if r.Header.Get("Range") != "" {
				t.Errorf("the first request has the Range %q", r.Header.Get("Range"))
			}
			continue
		}
		from, to := 0, len(large)-1 // the last one has no end
		if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); n == 0 || asked[from] || to != min(from+part, len(large))-1 {
			t.Errorf("a part is asked for with %q", r.Header.Get("Range"))
		}
		asked[from] = true
	}
	// One part is read to judge the connection and one more while others begin.
	// What a read brings decides where exactly that is.
	if n := len(asked); n < 13 || n > 14 {
		t.Errorf("%d parts were asked for, want all but the first two or three of 16", n)
	}
	if p.Peak() > 4 {
		t.Errorf("%d requests at a time, want at most one and three lanes", p.Peak())
	}
	if _, retries := c.sent(); retries != 0 {
		t.Errorf("%d retries, want none", retries)
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
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
	}
	// The first, three lanes, and the rest; then one.
	if n := len(p.Requests()); n > 6 {
		t.Errorf("%d requests, want at most 6", n)
	}
	if last := p.Requests()[len(p.Requests())-1]; last.Header.Get("Range") != "" {
		t.Errorf("the second blob is asked for with the Range %q", last.Header.Get("Range"))
	}
}

// A gateway may take a Range for an attack, or be confused by it: what one
// connection can bring is brought.
func TestParallelDownload_RangeRefused(t *testing.T) {
	for _, status := range []int{403, 404, 416, 500} {
		p, c := newRangeClient(t, 3)
		p.On("GET", ".*").Where(isRange).Reply(status, nil, "")
		repo := c.pull(t, p.Ref("app", "1"))
		if got, err := readAll(t, repo, descriptor(large)); err != nil || got != large {
			t.Fatalf("%d: read %d bytes, %v", status, len(got), err)
		}
		p.Forget()
		if got, err := readAll(t, repo, descriptor(large)); err != nil || got != large {
			t.Fatalf("%d: read %d bytes, %v", status, len(got), err)
		}
		if n := len(p.Requests()); status < 500 && n != 1 {
			t.Errorf("%d: %d requests for the next blob, want one", status, n)
		}
	}
}

func TestParallelDownload_ResumesPart(t *testing.T) {
	p, c := newRangeClient(t, 3)
	p.On("GET", ".*").Where(isRange).Times(2).Cut(part / 2)
	if got, err := readAll(t, c.pull(t, p.Ref("app", "1")), descriptor(large)); err != nil || got != large {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
}

func TestParallelDownload_WrongContentRange(t *testing.T) {
	p, c := newRangeClient(t, 3)
	// Only a part has an end: what goes on to the end of the blob is what it
	// should be.
	isPart := func(r *http.Request) bool { return isRange(r) && !strings.HasSuffix(r.Header.Get("Range"), "-") }
	p.On("GET", ".*").Where(isPart).Alter(func(r *http.Response) {
		r.Header.Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", part-1, len(large)))
	})
	if got, err := readAll(t, c.pull(t, p.Ref("app", "1")), descriptor(large)); err != nil || got != large {
		t.Fatalf("read %d bytes, %v", len(got), err)
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
		t.Error("all bytes were given although some were wrong")
	}
}

func TestParallelDownload_HalfOfHostLimit(t *testing.T) {
	p, _ := newRangeClient(t, 8)
	c := newClient(t, func(o *remote.Options) {
		o.Hosts = map[string]remote.HostOptions{p.Addr: {MaxConcurrentRequests: 6}}
	})
	c.ForceRanges(part, 8)
	if got, err := readAll(t, c.pull(t, p.Ref("app", "1")), descriptor(large)); err != nil || got != large {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
	if p.Peak() > 3 {
		t.Errorf("%d requests at a time, want at most half of six", p.Peak())
	}
}

func TestParallelDownload_BufferLimit(t *testing.T) {
	p, c := newRangeClient(t, 6)
	var reading sync.WaitGroup
	for range 5 {
		reading.Go(func() {
			if got, err := readAll(t, c.pull(t, p.Ref("app", "1")), descriptor(large)); err != nil || got != large {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		})
	}
	reading.Wait()
	if most := 5 + remote.MaxBuffers; p.Peak() > most {
		t.Errorf("%d requests at a time, want at most %d", p.Peak(), most)
	}
}

func TestParallelDownload_EndsWithReader(t *testing.T) {
	for name, end := range map[string]func(io.Closer, context.CancelFunc){
		"closed":    func(blob io.Closer, _ context.CancelFunc) { _ = blob.Close() },
		"cancelled": func(_ io.Closer, cancel context.CancelFunc) { cancel() },
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
				t.Errorf("reading went on: %v", err)
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
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		})
	}
	p.Wait(t, func() bool { return c.UsedBuffers() == remote.MaxBuffers })
	if got, err := readAll(t, c.pull(t, other.Ref("app", "1")), descriptor(large)); err != nil || got != large {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if n := other.Count("GET", ".*/blobs/.*"); n < 2 {
		t.Errorf("the blob of another host was read with %d requests, want several parts", n)
	}
	close(gate)
	reading.Wait()
}
