package remote_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// assertOneUploadPerSession fails the test if two PUT requests use the same upload
// session.
func assertOneUploadPerSession(t *testing.T, p *registrytest.Proxy) {
	t.Helper()
	used := map[string]bool{}
	for _, r := range p.Requests() {
		if r.Method == http.MethodPut && used[r.Path] {
			t.Errorf("two PUT requests for the upload session %s, want one", r.Path)
		}
		used[r.Path] = used[r.Path] || r.Method == http.MethodPut
	}
}

func TestPutBlob_RestartsBrokenUpload(t *testing.T) {
	for name, fault := range map[string]func(*registrytest.Rule){
		"reset_at_start": func(r *registrytest.Rule) { r.Reset() },
		"reset_halfway":  func(r *registrytest.Rule) { r.CutUpload(500_000) },
		"unavailable":    func(r *registrytest.Rule) { r.Reply(http.StatusServiceUnavailable, nil, "") },
		"unknown_upload": func(r *registrytest.Rule) {
			r.Reply(http.StatusNotFound, nil, string(registrytest.ErrorBody("BLOB_UPLOAD_UNKNOWN", "")))
		},
		"range_not_satisfiable": func(r *registrytest.Rule) { r.Reply(http.StatusRequestedRangeNotSatisfiable, nil, "") },
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			fault(p.On("PUT", ".*").Times(2))
			c := newClient(t)
			content := newBody(t, large)
			outcome, err := c.push(t, p.Ref("app", "1")).PutBlob(c.context(t), descriptor(large), content.get())
			if err != nil || outcome != registry.Copied || !p.HasBlob(t, "app", descriptor(large).Digest) {
				t.Fatalf("PutBlob() = %q, %v; want Copied", outcome, err)
			}
			if content.opens() != 3 || p.Count("PUT", ".*") != 3 || p.Count("DELETE", ".*") != 2 {
				t.Errorf("content opened %d times; requests = %s", content.opens(), sentRequests(p))
			}
			assertOneUploadPerSession(t, p)
		})
	}
}

func TestPutBlob_AttemptLimit(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.On("PUT", ".*").Reply(http.StatusNotFound, nil, string(registrytest.ErrorBody("BLOB_UPLOAD_UNKNOWN", "")))
	_, err := newClient(t).push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor(small), newBody(t, small).get())
	e := assertErrorKind(t, err, registry.ErrUnavailable)
	assertContains(t, e.Hint, "share their storage")
	if n := p.Count("PUT", ".*"); n != 6 || e.Code != "BLOB_UPLOAD_UNKNOWN" {
		t.Errorf("attempts = %d, want 6: %v", n, err)
	}
	assertOneUploadPerSession(t, p)
}

func TestPutBlob_LostResponseCountsAsCopied(t *testing.T) {
	// The blob arrives, and the connection breaks before the response.
	p := scripted(t, registrytest.Behaviour{})
	p.On("PUT", ".*").Times(1).Do(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		p.PushBlob(t, "app", registrytest.Blob{Content: []byte(small)})
		panic(http.ErrAbortHandler)
	})
	outcome, err := newClient(t).push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor(small), newBody(t, small).get())
	if err != nil || outcome != registry.Copied || p.Count("PUT", ".*") != 1 {
		t.Errorf("PutBlob() = %q, %v, want Copied; requests = %s", outcome, err, sentRequests(p))
	}
}

func TestPutBlob_RefusalCancelsUpload(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		code   string
		want   error
	}{
		"too_large":          {413, "", registry.ErrDenied},
		"quota":              {403, "DENIED", registry.ErrDenied},
		"digest_mismatch":    {400, "DIGEST_INVALID", registry.ErrMismatch},
		"repository_missing": {404, "NAME_UNKNOWN", registry.ErrNotFound},
		"redirect":           {307, "", registry.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			p.On("PUT", ".*").Reply(test.status, http.Header{"Location": {"/elsewhere"}}, string(registrytest.ErrorBody(test.code, "no more than that")))
			content := newBody(t, small)
			_, err := newClient(t).push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor(small), content.get())
			assertErrorKind(t, err, test.want)
			if got := sentRequests(p); got != "POST from app, PUT, DELETE" || content.opens() != 1 {
				t.Errorf("requests = %s, want POST from app, PUT, DELETE", got)
			}
		})
	}
}

func TestPutBlob_InconclusiveHead(t *testing.T) {
	for name, rule := range map[string]func(*registrytest.Rule){
		"unauthorized":       func(r *registrytest.Rule) { r.Reply(http.StatusUnauthorized, nil, "") },
		"forbidden":          func(r *registrytest.Rule) { r.Reply(http.StatusForbidden, nil, "") },
		"method_not_allowed": func(r *registrytest.Rule) { r.Reply(http.StatusMethodNotAllowed, nil, "") },
		"server_error":       func(r *registrytest.Rule) { r.Reply(http.StatusInternalServerError, nil, "") },
		"no_length":          func(r *registrytest.Rule) { r.Reply(http.StatusOK, nil, "") },
		"wrong_length":       func(r *registrytest.Rule) { r.Reply(http.StatusOK, http.Header{"Content-Length": {"7"}}, "") },
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			rule(p.On("HEAD", "/v2/app/blobs/.*"))
			outcome, err := newClient(t).push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor(large), newBody(t, large).get())
			if err != nil || outcome != registry.Copied || !p.HasBlob(t, "app", descriptor(large).Digest) {
				t.Errorf("PutBlob() = %q, %v; want Copied", outcome, err)
			}
			if n := p.Count("HEAD", ".*"); n != 1 {
				t.Errorf("HEAD requests = %d, want 1", n)
			}
		})
	}
}

func TestPutBlob_ResponseDigest(t *testing.T) {
	for header, want := range map[string]error{
		string(descriptor("other").Digest):   registry.ErrMismatch,
		"sha512:" + strings.Repeat("0", 128): nil, // another algorithm
		string(descriptor(small).Digest):     nil,
		"":                                   nil,
	} {
		p := scripted(t, registrytest.Behaviour{})
		p.On("PUT", ".*").Alter(func(r *http.Response) { r.Header.Set("Docker-Content-Digest", header) })
		_, err := newClient(t).push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor(small), newBody(t, small).get())
		if want != nil {
			assertContains(t, assertErrorKind(t, err, want).Error(), header)
		} else if err != nil {
			t.Errorf("PutBlob() with digest header %q = %v", header, err)
		}
	}
}

func TestPutBlob_ContentMismatch(t *testing.T) {
	broken := errors.New("the source broke")
	for name, test := range map[string]struct {
		content io.Reader
		want    error
	}{
		"corrupt":   {registry.Verify(io.NopCloser(strings.NewReader(strings.Repeat("x", len(large)))), descriptor(large), "source/app"), registry.ErrMismatch},
		"too_short": {strings.NewReader(large[1:]), registry.ErrMismatch},
		"too_long":  {strings.NewReader(large + "!"), registry.ErrMismatch},
		"broken":    {io.MultiReader(strings.NewReader(large[:500_000]), failing{broken}), broken},
	} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			opened := 0
			_, err := newClient(t).push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor(large), registry.Content{
				Open: func(context.Context) (io.ReadCloser, error) { opened++; return io.NopCloser(test.content), nil },
			})
			if !errors.Is(err, test.want) {
				t.Errorf("error = %v, want %v", err, test.want)
			}
			// The source failed, so the upload is not retried.
			if opened != 1 || p.Count("DELETE", ".*") != 1 {
				t.Errorf("content opened %d times; requests = %s", opened, sentRequests(p))
			}
			if name != "too_long" && p.HasBlob(t, "app", descriptor(large).Digest) {
				t.Error("the upload was completed, want it canceled")
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestPutBlob_OpenError(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	gone := &registry.Error{Op: "read the blob", Repository: "source/app", Kind: registry.ErrUnavailable}
	_, err := newClient(t).push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor(small), registry.Content{
		Open: func(context.Context) (io.ReadCloser, error) { return nil, gone },
	})
	if !errors.Is(err, gone) {
		t.Errorf("error = %v, want %v", err, gone)
	}
	if got := sentRequests(p); got != "POST from app, DELETE" {
		t.Errorf("requests = %s, want POST from app, DELETE", got)
	}
}

func TestPutBlob_WaitsForContent(t *testing.T) {
	for name, setMode := range uploadModes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var deleted, sent atomic.Int32
				c := newClient(t, servePipes(t, uploads(func(w http.ResponseWriter, r *http.Request) {
					sent.Add(1)
					_, _ = io.Copy(io.Discard, r.Body)
					w.Header().Set("Location", r.URL.Path)
					w.WriteHeader(map[string]int{http.MethodPatch: http.StatusAccepted, http.MethodPut: http.StatusCreated}[r.Method])
				}, &deleted)).options)
				setMode(c, pipeHost)
				gate, ended := make(chan struct{}), make(chan error, 1)
				content := newBody(t, large)
				go func() {
					_, err := c.push(t, pipeHost+"/app").PutBlob(t.Context(), descriptor(large), registry.Content{Open: func(ctx context.Context) (io.ReadCloser, error) {
						<-gate
						return content.get().Open(ctx)
					}})
					ended <- err
				}()
				synctest.Wait()
				if n := sent.Load(); n != 0 {
					t.Errorf("requests before the content was open = %d, want 0", n)
				}
				close(gate)
				if err := <-ended; err != nil || sent.Load() == 0 || deleted.Load() != 0 {
					t.Errorf("requests = %d, %v", sent.Load(), err)
				}
			})
		})
	}
}

func TestPutBlob_EmptyBlob(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.On("PUT", ".*").Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
			t.Errorf("Content-Length = %d, Transfer-Encoding = %s, want 0 and none", r.ContentLength, r.TransferEncoding)
		}
		next.ServeHTTP(w, r)
	})
	repo := newClient(t).push(t, p.Ref("app", "1"))
	outcome, err := repo.PutBlob(t.Context(), descriptor(""), newBody(t, "").get())
	if err != nil || outcome != registry.Copied || !p.HasBlob(t, "app", descriptor("").Digest) {
		t.Fatalf("PutBlob() = %q, %v; want Copied", outcome, err)
	}
	if got, err := readAll(t, repo, descriptor("")); err != nil || got != "" {
		t.Errorf("GetBlob() read %q, %v; want %q", got, err, "")
	}
	p.Forget()
	other := scripted(t, registrytest.Behaviour{})
	_, err = newClient(t).push(t, other.Ref("app", "1")).PutBlob(t.Context(), descriptor(""), newBody(t, "not nothing").get())
	if !errors.Is(err, registry.ErrMismatch) || other.Count("PUT", ".*") != 0 {
		t.Errorf("PutBlob() of nonempty content = %v, want ErrMismatch; requests = %s", err, sentRequests(other))
	}
}

func TestPutBlob_CanceledUpload(t *testing.T) {
	registrytest.NoLeaks(t)
	p := scripted(t, registrytest.Behaviour{})
	received := make(chan struct{})
	p.On("PUT", ".*").Do(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(received)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-received; cancel() }()
	_, err := newClient(t).push(t, p.Ref("app", "1")).PutBlob(ctx, descriptor(small), newBody(t, small).get())
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want %v", err, context.Canceled)
	}
	if got := sentRequests(p); got != "POST from app, PUT, DELETE" {
		t.Errorf("requests = %s, want POST from app, PUT, DELETE", got)
	}
}

func TestPutBlob_TokenExpiresDuringUpload(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	refusals := p.On("PUT", ".*").Times(2)
	refusals.Reply(http.StatusUnauthorized, http.Header{"WWW-Authenticate": {`Bearer realm="` + tokens.URL + `"`}}, "")
	content := newBody(t, large)
	outcome, err := newClient(t).push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor(large), content.get())
	if err != nil || outcome != registry.Copied {
		t.Fatalf("PutBlob() = %q, %v; want Copied", outcome, err)
	}
	if n := p.Count("PUT", ".*"); n != 3 || content.opens() != 3 {
		t.Errorf("upload attempts = %d, content opened %d times, want 3 and 3", n, content.opens())
	}
	// The number of refreshes is limited.
	p.Clear()
	p.Forget()
	p.On("PUT", ".*").Reply(http.StatusUnauthorized, http.Header{"WWW-Authenticate": {`Bearer realm="` + tokens.URL + `"`}}, string(registrytest.ErrorBody("UNAUTHORIZED", "no")))
	_, err = newClient(t).push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor("x"), newBody(t, "x").get())
	assertContains(t, assertErrorKind(t, err, registry.ErrUnauthorized).Hint, "no credentials were found")
	if n := p.Count("PUT", ".*"); n != 3 {
		t.Errorf("upload attempts = %d, want 3", n)
	}
	assertOneUploadPerSession(t, p)
}

// refuseEarly returns a handler that responds with status while the client is still
// sending the body. It then closes the connection without reading the rest, which resets
// the connection.
func refuseEarly(t *testing.T, status string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, 100_000))
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 "+status+"\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
		_ = conn.(interface{ SetLinger(int) error }).SetLinger(0)
		_ = conn.Close()
	}
}

func TestPutBlob_EarlyRefusal(t *testing.T) {
	const size = 64 << 20
	for status, test := range map[string]struct {
		status  int
		want    error
		uploads int
	}{
		// One PUT, one PATCH, and chunks from 16 MiB down to 256 KiB.
		"413 Request Entity Too Large": {413, registry.ErrDenied, 9},
		"403 Forbidden":                {403, registry.ErrDenied, 1},
		"401 Unauthorized":             {401, registry.ErrUnauthorized, 1},
		"507 Insufficient Storage":     {507, registry.ErrProtocol, 1},
	} {
		t.Run(status, func(t *testing.T) {
			var deleted atomic.Int32
			server := servePlain(t, uploads(refuseEarly(t, status), &deleted))
			blob := registrytest.Layer("large", size)
			closed := make(chan struct{}, test.uploads)
			_, err := newClient(t).push(t, address(server)+"/app").PutBlob(t.Context(), blob.Descriptor(), registry.Content{
				Open: func(context.Context) (io.ReadCloser, error) {
					return &notifyingCloser{Reader: blob.Open(), closed: closed}, nil
				},
			})
			if e := assertErrorKind(t, err, test.want); e.Status != test.status || strings.Contains(err.Error(), "broken pipe") {
				t.Errorf("error = %v", err)
			}
			for range test.uploads {
				<-closed
			}
			if int(deleted.Load()) != test.uploads {
				t.Errorf("canceled uploads = %d, want %d", deleted.Load(), test.uploads)
			}
		})
	}
}

type notifyingCloser struct {
	io.Reader
	closed chan struct{}
}

func (c *notifyingCloser) Close() error { c.closed <- struct{}{}; return nil }

func TestPutBlob_EarlyRefusalUnblocksContent(t *testing.T) {
	registrytest.NoLeaks(t)
	// The registry refuses at once. The source has returned little more than the head of
	// the blob and returns nothing more.
	var deleted atomic.Int32
	server := servePlain(t, uploads(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_ = http.NewResponseController(w).Flush()
	}, &deleted))
	reader, writer := net.Pipe()
	go func() { _, _ = io.WriteString(writer, strings.Repeat("x", remote.HeadSize+1)) }()
	t.Cleanup(func() { _ = writer.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := newClient(t).push(t, address(server)+"/app").PutBlob(ctx, descriptor(large), registry.Content{
		Open: func(context.Context) (io.ReadCloser, error) { return reader, nil },
	})
	if e := assertErrorKind(t, err, registry.ErrDenied); e.Status != http.StatusForbidden {
		t.Errorf("error = %v", err)
	}
	if _, err := reader.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Read() of the content = %v, want it closed", err)
	}
}
