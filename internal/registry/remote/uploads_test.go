package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// huge is a blob of 3 MiB, which is large enough for its upload to be resumed.
var huge = large + large[1:] + "!" + large

// uploadModes are the ways to upload a blob. Each function makes a client use that mode.
var uploadModes = map[string]func(c *client, host string){
	"monolithic": func(*client, string) {},
	"streamed":   func(c *client, host string) { c.ForceStreamed(host) },
	"chunked":    func(c *client, host string) { c.ForceChunked(host, 1<<20) },
}

// putBlob uploads a blob without an existence check, and fails the test unless the upload
// succeeds.
func putBlob(t *testing.T, c *client, p *registrytest.Proxy, content string) *body {
	t.Helper()
	b := newBody(t, content)
	forced := registry.Content{Force: true, Open: func(ctx context.Context) (io.ReadCloser, error) {
		opened, err := b.get().Open(ctx)
		return &closableContent{ReadCloser: opened}, err
	}}
	outcome, err := c.push(t, p.Ref("app", "1")).PutBlob(c.context(t), descriptor(content), forced)
	if err != nil || outcome != registry.Copied || !p.HasBlob(t, "app", descriptor(content).Digest) {
		t.Errorf("PutBlob() = %q, %v, want Copied; requests = %s", outcome, err, sentRequests(p))
	}
	whole := map[string]bool{}
	for _, r := range p.Requests() {
		if r.Header.Get("Content-Length") != strconv.Itoa(len(content)) {
			continue
		}
		if whole[r.Path] {
			t.Errorf("the whole blob was sent to %s twice, want once", r.Path)
		}
		whole[r.Path] = true
	}
	return b
}

// closableContent is content that returns an error if it is read after Close.
type closableContent struct {
	io.ReadCloser
	closed atomic.Bool
}

func (u *closableContent) Read(p []byte) (int, error) {
	if u.closed.Load() {
		return 0, io.ErrClosedPipe
	}
	return u.ReadCloser.Read(p)
}

func (u *closableContent) Close() error {
	u.closed.Store(true)
	return u.ReadCloser.Close()
}

// hasBody reports whether a request has a body.
func hasBody(r *http.Request) bool { return r.ContentLength > 0 }

// contentRanges returns the Content-Range of each request that has one.
func contentRanges(p *registrytest.Proxy) string {
	var all []string
	for _, r := range p.Requests() {
		if at := r.Header.Get("Content-Range"); at != "" {
			all = append(all, at)
		}
	}
	return strings.Join(all, ", ")
}

func TestPutBlob_UploadModeFallback(t *testing.T) {
	const oneFallback = "POST, PUT, DELETE, POST, PATCH, PUT"
	tooLarge := func(r *http.Request) bool { return r.ContentLength > 1<<20 }
	for name, test := range map[string]struct {
		refuse      func(p *registrytest.Proxy)
		first, then string
		small       string
	}{
		"put_405": {func(p *registrytest.Proxy) { p.On("PUT", ".*").Where(hasBody).Reply(405, nil, "") },
			oneFallback, "POST, PATCH, PUT", "POST, PATCH, PUT"},
		"large_put_413": {func(p *registrytest.Proxy) { p.On("PUT", ".*").Where(tooLarge).Reply(413, nil, "") },
			oneFallback, "POST, PATCH, PUT", "POST, PUT"},
		// The first 404 could mean that the upload session was lost.
		"put_404": {func(p *registrytest.Proxy) { p.On("PUT", ".*").Where(hasBody).Reply(404, nil, "") },
			"POST, PUT, DELETE, " + oneFallback, "POST, PATCH, PUT", "POST, PATCH, PUT"},
		"large_body_413": {func(p *registrytest.Proxy) { p.On("PUT|PATCH", ".*").Where(tooLarge).Reply(413, nil, "") },
			"POST, PUT, DELETE, POST, PATCH, DELETE, POST, PATCH, DELETE, POST, PATCH, PATCH, PATCH, PATCH, PUT",
			"POST, PATCH, PATCH, PATCH, PATCH, PUT", "POST, PUT"},
		"chunks_only": {func(p *registrytest.Proxy) {
			p.On("PUT|PATCH", ".*").Where(func(r *http.Request) bool { return hasBody(r) && r.Header.Get("Content-Range") == "" }).Reply(405, nil, "")
		}, "POST, PUT, DELETE, POST, PATCH, DELETE, POST, PATCH, PUT", "POST, PATCH, PUT", "POST, PATCH, PUT"},
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			test.refuse(p)
			c := newClient(t)
			for _, step := range []struct{ content, want string }{{huge, test.first}, {huge[1:] + "?", test.then}, {small, test.small}} {
				putBlob(t, c, p, step.content)
				if got := sentRequests(p); got != step.want {
					t.Errorf("requests for %d bytes = %s, want %s", len(step.content), got, step.want)
				}
			}
		})
	}
}

func TestPutBlob_NoFallbackForRefusedBlob(t *testing.T) {
	for name, body := range map[string]string{"too_large": "", "over_quota": string(registrytest.ErrorBody("DENIED", "quota"))} {
		p := scripted(t, registrytest.Behaviour{})
		p.On("PUT|PATCH", ".*").Where(hasBody).Reply(http.StatusRequestEntityTooLarge, nil, body)
		content := strings.Repeat("x", remote.SmallestChunk)
		if body != "" {
			content = huge
		}
		_, err := newClient(t).push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor(content), newBody(t, content).get())
		assertErrorKind(t, err, registry.ErrDenied)
		if puts := p.Count("PUT|PATCH", ".*"); puts != 1 {
			t.Errorf("%s: requests = %s", name, sentRequests(p))
		}
	}
}

func TestPutBlob_ChunkMinLength(t *testing.T) {
	for announced, want := range map[int64]string{
		0:         "0-262143, 262144-524287, 524288-786431, 786432-1048575",
		1000:      "0-262143, 262144-524287, 524288-786431, 786432-1048575",
		300_000:   "0-299999, 300000-599999, 600000-899999, 900000-1048575",
		9_000_000: "", // the whole blob is shorter than a chunk
	} {
		p := scripted(t, registrytest.Behaviour{MinChunk: announced})
		c := newClient(t)
		c.ForceChunked(p.Addr, remote.SmallestChunk)
		putBlob(t, c, p, large)
		if got := contentRanges(p); got != want {
			t.Errorf("chunks for a minimum of %d bytes = %s, want %s", announced, got, want)
		}
	}
	for _, announced := range []string{"-1", "9223372036854775807", "many"} {
		p := scripted(t, registrytest.Behaviour{})
		p.On("POST", ".*").Alter(func(r *http.Response) { r.Header.Set("OCI-Chunk-Min-Length", announced) })
		c := newClient(t)
		c.ForceChunked(p.Addr, remote.SmallestChunk)
		putBlob(t, c, p, large)
	}
	// A value that overflows is not a number, so the client ignores it.
	p := scripted(t, registrytest.Behaviour{})
	p.On("POST", ".*").Alter(func(r *http.Response) { r.Header.Set("OCI-Chunk-Min-Length", "9223372036854775808") })
	c := newClient(t)
	c.ForceChunked(p.Addr, remote.SmallestChunk)
	putBlob(t, c, p, large)
	if got := contentRanges(p); got != "0-262143, 262144-524287, 524288-786431, 786432-1048575" {
		t.Errorf("chunks = %s, want the default size", got)
	}
}

// truncateBody returns a handler that passes on only the first n bytes of the request body
// and then fails.
func truncateBody(n int64) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Body = io.NopCloser(io.MultiReader(io.LimitReader(r.Body, n), failing{errors.New("cut")}))
		next.ServeHTTP(w, r)
	}
}

func TestPutBlob_ResumesUpload(t *testing.T) {
	for name, setMode := range uploadModes {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			fault := p.On("PUT|PATCH", ".*").Where(hasBody).Times(1)
			if fault.Do(truncateBody(2<<20 - 100)); name == "chunked" {
				fault.After(1).Do(truncateBody(1<<20 - 100))
			}
			c := newClient(t)
			setMode(c, p.Addr)
			content := putBlob(t, c, p, huge)
			if content.opens() != 2 || p.Count("POST", ".*") != 1 || p.Count("GET", ".*") != 1 || p.Count("DELETE", ".*") != 0 {
				t.Errorf("content opened %d times, requests = %s, want a single resumed upload", content.opens(), sentRequests(p))
			}
			if got := contentRanges(p); !strings.HasSuffix(got, "-3145727") {
				t.Errorf("Content-Range = %s, want the rest of the blob", got)
			}
			var received int64
			for _, r := range p.Requests() {
				received += r.Received
			}
			if received > 4<<20 { // a restart would send 5 MiB
				t.Errorf("sent bytes = %d for a blob of %d, want at most 4 MiB", received, len(huge))
			}
		})
	}
}

func TestPutBlob_ResumeAtEnd(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.On("PATCH", ".*").Times(1).Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(httptest.NewRecorder(), r)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	c := newClient(t)
	c.ForceStreamed(p.Addr)
	if content := putBlob(t, c, p, huge); content.opens() != 1 {
		t.Errorf("content opened %d times, want 1", content.opens())
	}
	if got := sentRequests(p); got != "POST, PATCH, GET, PUT" {
		t.Errorf("requests = %s, want POST, PATCH, GET, PUT", got)
	}
}

func TestPutBlob_NewSession(t *testing.T) {
	for name, test := range map[string]struct {
		fault func(p *registrytest.Proxy)
		want  string
	}{
		"nothing_received": {func(p *registrytest.Proxy) { p.On("PUT", ".*").Times(1).Reply(503, nil, "") },
			"POST, PUT, GET, DELETE, POST, PUT"},
		"no_offset": {func(p *registrytest.Proxy) {
			p.On("PUT", ".*").Times(1).Do(truncateBody(2 << 20))
			p.On("GET", ".*").Reply(404, nil, "")
		}, "POST, PUT, GET, DELETE, POST, PUT"},
		"offset_too_large": {func(p *registrytest.Proxy) {
			p.On("PUT", ".*").Times(1).Do(truncateBody(2 << 20))
			p.On("GET", ".*").Alter(func(r *http.Response) { r.Header.Set("Range", "0-99999999") })
		}, "POST, PUT, GET, DELETE, POST, PUT"},
		"no_patch": {func(p *registrytest.Proxy) {
			p.On("PUT", ".*").Times(1).Do(truncateBody(2 << 20))
			p.On("PATCH", ".*").Reply(405, nil, "")
		}, "POST, PUT, GET, PATCH, DELETE, POST, PUT"},
		"patch_too_large": {func(p *registrytest.Proxy) {
			p.On("PUT", ".*").Times(1).Do(truncateBody(2 << 20))
			p.On("PATCH", ".*").Reply(413, nil, "")
		}, "POST, PUT, GET, PATCH, DELETE, POST, PUT"},
		"session_lost": {func(p *registrytest.Proxy) {
			p.On("PUT", ".*").Times(1).Do(truncateBody(2 << 20))
			p.On("PATCH", ".*").Reply(404, nil, "")
		}, "POST, PUT, GET, PATCH, DELETE, POST, PUT"},
		"range_not_satisfiable": {func(p *registrytest.Proxy) {
			p.On("PUT", ".*").Times(1).Do(truncateBody(2 << 20))
			p.On("PATCH", ".*").Reply(416, nil, "")
		}, "POST, PUT, GET, PATCH, DELETE, POST, PUT"},
		"digest_mismatch": {func(p *registrytest.Proxy) {
			p.On("PUT", ".*").Times(1).Do(truncateBody(2 << 20))
			p.On("PUT", ".*").Times(1).Reply(400, nil, string(registrytest.ErrorBody("DIGEST_INVALID", "")))
		}, "POST, PUT, GET, PATCH, PUT, DELETE, POST, PUT"},
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			test.fault(p)
			c := newClient(t)
			putBlob(t, c, p, huge)
			if got := sentRequests(p); got != test.want {
				t.Errorf("requests = %s, want %s", got, test.want)
			}
			if _, retries := c.sent(); retries == 0 {
				t.Error("retries = 0, want at least one")
			}
		})
	}
}

func TestPutBlob_ChunkResponse(t *testing.T) {
	const restarted = "POST, PATCH, PATCH, DELETE, POST, PATCH, PATCH, PATCH, PUT"
	const resumed = "POST, PATCH, PATCH, GET, PATCH, PATCH, PUT"
	const undisturbed = "POST, PATCH, PATCH, PATCH, PUT"
	// Canceling an upload does not count as a retry.
	counted := map[string]int{restarted: 5, resumed: 4, undisturbed: 0}
	withRange := func(header string) func(*registrytest.Rule) {
		return func(r *registrytest.Rule) {
			r.Alter(func(r *http.Response) { r.Header.Set("Range", header) })
		}
	}
	replies := func(status int, code string) func(*registrytest.Rule) {
		return func(r *registrytest.Rule) { r.Reply(status, nil, string(registrytest.ErrorBody(code, ""))) }
	}
	for name, test := range map[string]struct {
		fault func(*registrytest.Rule)
		want  string
	}{
		"partial_chunk": {func(r *registrytest.Rule) {
			r.Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				rest := r.Body
				r.Body, r.ContentLength = io.NopCloser(io.LimitReader(rest, 1000)), 1000
				next.ServeHTTP(w, r)
				_, _ = io.Copy(io.Discard, rest)
			})
		}, resumed},
		"range_too_large":       {withRange("0-99999999"), restarted},
		"range_decreased":       {withRange("0-999"), restarted},
		"range_reversed":        {withRange("5-3"), restarted},
		"range_not_a_number":    {withRange("all"), restarted},
		"range_with_unit":       {withRange("bytes 0-2097151/*"), restarted},
		"range_overflow":        {withRange("0-9223372036854775808"), restarted},
		"range_max_int64":       {withRange("0-9223372036854775807"), restarted},
		"no_range":              {func(r *registrytest.Rule) { r.Alter(func(r *http.Response) { r.Header.Del("Range") }) }, undisturbed},
		"created_as_by_ecr":     {func(r *registrytest.Rule) { r.Alter(func(r *http.Response) { r.StatusCode = 201 }) }, undisturbed},
		"session_unknown":       {replies(404, "BLOB_UPLOAD_UNKNOWN"), restarted},
		"range_not_satisfiable": {replies(416, ""), resumed},
		"unavailable":           {replies(503, ""), resumed},
		"throttled":             {replies(429, ""), resumed},
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			test.fault(p.On("PATCH", ".*").After(1).Times(1))
			c := newClient(t)
			c.ForceChunked(p.Addr, 1<<20)
			putBlob(t, c, p, huge)
			if got := sentRequests(p); got != test.want {
				t.Errorf("requests = %s, want %s", got, test.want)
			}
			if _, retries := c.sent(); retries != counted[test.want] {
				t.Errorf("retries = %d, want %d", retries, counted[test.want])
			}
		})
	}
}

func TestPutBlob_RepeatedInvalidResponse(t *testing.T) {
	withRange := func(header string) func(*registrytest.Rule) {
		return func(r *registrytest.Rule) {
			r.Alter(func(r *http.Response) { r.Header.Set("Range", header) })
		}
	}
	for name, fault := range map[string]func(*registrytest.Rule){
		"invalid_range":         withRange("\x80"),
		"range_decreased":       withRange("0-1"),
		"range_not_satisfiable": func(r *registrytest.Rule) { r.Reply(http.StatusRequestedRangeNotSatisfiable, nil, "") },
		"session_unknown": func(r *registrytest.Rule) {
			r.Reply(http.StatusNotFound, nil, string(registrytest.ErrorBody("BLOB_UPLOAD_UNKNOWN", "")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			fault(p.On("PATCH", ".*"))
			c := newClient(t)
			c.ForceStreamed(p.Addr)
			_, err := c.push(t, p.Ref("app", "1")).PutBlob(c.context(t), descriptor(small), newBody(t, small).get())
			assertErrorKind(t, err, registry.ErrUnavailable)
			if patches, deletes := p.Count("PATCH", ".*"), p.Count("DELETE", ".*"); patches != 6 || deletes != 6 {
				t.Errorf("PATCH requests = %d, DELETE requests = %d, want 6 and 6", patches, deletes)
			}
		})
	}
}

func TestPutBlob_TokenExpiresBetweenChunks(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	p.On("PATCH", ".*").After(1).Times(1).Reply(http.StatusUnauthorized, http.Header{"WWW-Authenticate": {`Bearer realm="` + tokens.URL + `"`}}, "")
	c := newClient(t)
	c.ForceChunked(p.Addr, 1<<20)
	putBlob(t, c, p, huge)
	// The first request is the one that gets the challenge.
	if got := sentRequests(p); got != "POST, POST, PATCH, PATCH, GET, PATCH, PATCH, PUT" {
		t.Errorf("requests = %s, want POST, POST, PATCH, PATCH, GET, PATCH, PATCH, PUT", got)
	}
}

func TestPutBlob_ContentMismatchInEachMode(t *testing.T) {
	for name, setMode := range uploadModes {
		for fault, content := range map[string]io.Reader{
			"corrupt":   registry.Verify(io.NopCloser(strings.NewReader(strings.Repeat("x", len(huge)))), descriptor(huge), "source/app"),
			"too_short": strings.NewReader(huge[1:]),
		} {
			t.Run(name+"_"+fault, func(t *testing.T) {
				p := scripted(t, registrytest.Behaviour{})
				c := newClient(t)
				setMode(c, p.Addr)
				_, err := c.push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor(huge), registry.Content{
					Force: true, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(content), nil },
				})
				if !errors.Is(err, registry.ErrMismatch) {
					t.Errorf("error = %v, want %v", err, registry.ErrMismatch)
				}
				var received int64
				puts := 0
				for _, r := range p.Requests() {
					received += r.Received
					if r.Method == http.MethodPut && r.Header.Get("Content-Length") == "0" {
						puts++
					}
				}
				if puts != 0 || received >= int64(len(huge)) || p.Count("DELETE", ".*") != 1 {
					t.Errorf("sent bytes = %d; requests = %s", received, sentRequests(p))
				}
			})
		}
	}
}

// The content that an earlier request of the session has read does not tell how much this
// request has sent.
func TestPutBlob_ResponseWithoutRange(t *testing.T) {
	var c *client
	var host string
	var stored int
	server := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/upload")
		switch r.Method {
		case http.MethodPost:
			w.WriteHeader(http.StatusAccepted)
		case http.MethodGet: // other uploads have shown meanwhile which mode the host accepts
			c.ForceChunked(host, 1<<20)
			stored = 1 << 20
			w.Header().Set("Range", fmt.Sprintf("0-%d", stored-1))
			w.WriteHeader(http.StatusNoContent)
		case http.MethodPatch:
			n, _ := io.Copy(io.Discard, r.Body)
			stored += int(n)
			w.WriteHeader(http.StatusAccepted)
		case http.MethodPut:
			if stored == 0 { // the whole blob arrives and is lost
				_, _ = io.Copy(io.Discard, r.Body)
				panic(http.ErrAbortHandler)
			}
			if stored != len(huge) {
				t.Errorf("the upload was completed with %d of %d bytes", stored, len(huge))
			}
			w.WriteHeader(http.StatusCreated)
		}
	})
	host = address(server)
	c = newClient(t)
	b := newBody(t, huge)
	content := b.get()
	content.Force = true
	if _, err := c.push(t, host+"/app").PutBlob(c.context(t), descriptor(huge), content); err != nil {
		t.Error(err)
	}
}
