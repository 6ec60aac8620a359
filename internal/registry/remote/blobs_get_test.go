package remote_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// large is a blob that needs several network packets and buffers.
var large = strings.Repeat("0123456789abcdef", 64<<10)

func TestGetBlob_ResumesAtOffset(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.PushBlob(t, "app", registrytest.Blob{Content: []byte(large)})
	d := descriptor(large)
	p.On("GET", ".*").Times(3).Cut(200_000)
	c := newClient(t)
	got, err := readAll(t, c.pull(t, p.Ref("app", "1")), d)
	if err != nil || got != large {
		t.Fatalf("GetBlob() read %d bytes, %v; want %d", len(got), err, len(large))
	}
	// Bytes that were read are not requested again. Some of the last bytes before a cut
	// may be lost.
	at := -1
	for i, r := range p.Requests() {
		var from int
		if i > 0 {
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err != nil || from <= at || from > i*200_000 {
				t.Errorf("Range of request %d = %q after offset %d", i, r.Header.Get("Range"), at)
			}
		} else if r.Header.Get("Range") != "" {
			t.Errorf("Range of the first request = %q, want none", r.Header.Get("Range"))
		}
		at = from
	}
	if n := len(p.Requests()); n != 4 {
		t.Errorf("requests = %d, want 4", n)
	}
}

func TestGetBlob_ResumeLimit(t *testing.T) {
	for name, cut := range map[string]int64{"no_bytes": 0, "one_byte_each": 1} {
		t.Run(name, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			p.PushBlob(t, "app", registrytest.Blob{Content: []byte(large)})
			if cut > 0 {
				p.On("GET", ".*").Cut(cut)
			} else {
				p.On("GET", ".*").Do(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
					w.Header().Set("Content-Length", strconv.Itoa(len(large)))
					_ = http.NewResponseController(w).Flush()
					panic(http.ErrAbortHandler)
				})
			}
			_, err := readAll(t, newClient(t).pull(t, p.Ref("app", "1")), descriptor(large))
			assertErrorKind(t, err, registry.ErrUnavailable)
			if n := len(p.Requests()); n != remote.MaxResumes+1 {
				t.Errorf("requests = %d, want %d", n, remote.MaxResumes+1)
			}
		})
	}
}

// resuming starts a server whose first response ends after half of the content. It handles
// later requests with next.
func resuming(t *testing.T, content string, next http.HandlerFunc) string {
	t.Helper()
	var requests atomic.Int32
	return address(servePlain(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) > 1 {
			next(w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = io.WriteString(w, content[:len(content)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
}

func TestGetBlob_ResumeResponse(t *testing.T) {
	const content = "0123456789"
	rest := func(status int, body string, ranges ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Range"] = ranges
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, test := range map[string]struct {
		next http.HandlerFunc
		want error
	}{
		"rest":                      {rest(206, "56789", "bytes 5-9/10"), nil},
		"rest_of_unknown_size":      {rest(206, "56789", "bytes 5-9/*"), nil},
		"whole_blob":                {rest(200, content), nil},
		"whole_blob_without_length": {serveBlob(content), nil},
		"wrong_start":               {rest(206, "6789", "bytes 6-9/10"), registry.ErrProtocol},
		"from_beginning":            {rest(206, content, "bytes 0-9/10"), registry.ErrProtocol},
		"wrong_end":                 {rest(206, "567", "bytes 5-7/10"), registry.ErrProtocol},
		"wrong_total":               {rest(206, "56789", "bytes 5-9/11"), registry.ErrProtocol},
		"two_content_ranges":        {rest(206, "56789", "bytes 5-9/10", "bytes 5-9/10"), registry.ErrProtocol},
		"no_content_range":          {rest(206, "56789"), registry.ErrProtocol},
		"malformed_content_range":   {rest(206, "56789", "5 to 9"), registry.ErrProtocol},
		"wrong_bytes":               {rest(206, "ABCDE", "bytes 5-9/10"), registry.ErrMismatch},
		"wrong_whole_blob":          {rest(200, "ABCDEFGHIJ"), registry.ErrMismatch},
		"wrong_length":              {rest(200, "0123456789a"), registry.ErrMismatch},
		"too_many_bytes":            {rest(206, "56789a", "bytes 5-9/10"), registry.ErrMismatch},
		"not_found":                 {rest(404, string(registrytest.ErrorBody("BLOB_UNKNOWN", ""))), registry.ErrNotFound},
		"range_not_satisfiable":     {rest(416, ""), registry.ErrDenied},
		"no_content":                {rest(204, ""), registry.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			repo := newClient(t).pull(t, resuming(t, content, test.next)+"/app")
			got, err := readAll(t, repo, descriptor(content))
			switch {
			case test.want != nil:
				assertErrorKind(t, err, test.want)
			case err != nil || got != content:
				t.Errorf("GetBlob() read %q, %v; want %q", got, err, content)
			}
			// The first half may have been read, because its digest is not known yet.
			if !strings.HasPrefix(content, got) {
				t.Errorf("GetBlob() returned %q, want a prefix of the content", got)
			}
		})
	}
}

func TestGetBlob_ResumeRequestsNewRedirect(t *testing.T) {
	const content = "0123456789"
	var signatures, stale atomic.Int32
	storage := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("sig") != fmt.Sprint(signatures.Load()) {
			stale.Add(1)
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if r.Header.Get("Range") == "" {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, content[:5])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Range", "bytes 5-9/10")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = io.WriteString(w, content[5:])
	})
	server := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
		redirect(fmt.Sprintf("%s/blob?sig=%d", storage.URL, signatures.Add(1)))(w, r)
	})
	got, err := readAll(t, newClient(t).pull(t, address(server)+"/app"), descriptor(content))
	if err != nil || got != content || signatures.Load() != 2 || stale.Load() != 0 {
		t.Errorf("GetBlob() read %q with %d signatures, %d of them stale: %v", got, signatures.Load(), stale.Load(), err)
	}
}

func TestGetBlob_ContentMismatch(t *testing.T) {
	const content = "0123456789"
	for name, handler := range map[string]http.HandlerFunc{
		"wrong_bytes":      serveBlob("ABCDEFGHIJ"),
		"too_short":        func(w http.ResponseWriter, r *http.Request) { writeWithoutLength(w, "01234") },
		"too_long":         func(w http.ResponseWriter, r *http.Request) { writeWithoutLength(w, content+"!") },
		"length_too_small": serveBlob("01234"),
		"length_too_large": serveBlob(content + "!"),
		"length_of_untyped_page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = io.WriteString(w, "<html>")
		},
		"untyped_page": func(w http.ResponseWriter, _ *http.Request) { writeWithoutLength(w, "<html>") },
		"empty":        func(http.ResponseWriter, *http.Request) {},
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, content); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := servePlain(t, handler)
			got, err := readAll(t, newClient(t).pull(t, address(server)+"/app"), descriptor(content))
			assertContains(t, assertErrorKind(t, err, registry.ErrMismatch).Error(), address(server)+"/app", string(descriptor(content).Digest))
			if len(got) >= len(content) {
				t.Errorf("GetBlob() returned %d bytes, want fewer than the blob has", len(got))
			}
			if strings.HasPrefix(name, "length") {
				assertContains(t, err.Error(), "bytes under it and its descriptor says 10")
			}
		})
	}
}

func TestGetBlob_WebPage(t *testing.T) {
	server := serveFixed(t, 200, "text/html; charset=utf-8", "<html>sign in</html>")
	_, err := readAll(t, newClient(t).pull(t, address(server)+"/app"), descriptor("0123456789"))
	e := assertErrorKind(t, err, registry.ErrProtocol)
	assertContains(t, e.Error()+e.Hint, "what came is a web page (text/html) of 20 bytes, and the blob has 10", "does not seem to be a registry")
}

// writeWithoutLength writes content as a response without a Content-Length.
func writeWithoutLength(w http.ResponseWriter, content string) {
	_ = http.NewResponseController(w).Flush()
	_, _ = io.WriteString(w, content)
}

// gzipped returns content compressed with gzip.
func gzipped(t *testing.T, content string) []byte {
	t.Helper()
	var small bytes.Buffer
	w := gzip.NewWriter(&small)
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return small.Bytes()
}

func TestGetBlob_ConnectionLostAfterLastByte(t *testing.T) {
	server := servePlain(t, func(w http.ResponseWriter, _ *http.Request) {
		writeWithoutLength(w, "content")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // before the final chunk
	})
	c := newClient(t)
	got, err := readAll(t, c.pull(t, address(server)+"/app"), descriptor("content"))
	if err != nil || got != "content" {
		t.Errorf("GetBlob() read %q, %v; want %q", got, err, "content")
	}
}

func TestGetBlob_CloseDuringRead(t *testing.T) {
	registrytest.NoLeaks(t)
	p := scripted(t, registrytest.Behaviour{})
	p.On("GET", ".*").Do(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("Content-Length", strconv.Itoa(len(large)))
		_, _ = io.WriteString(w, large[:100])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	c := newClient(t)
	blob, err := c.pull(t, p.Ref("app", "1")).GetBlob(t.Context(), descriptor(large))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(blob, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := blob.Read(make([]byte, 100))
		ended <- err
	}()
	_ = blob.Close()
	if err := <-ended; err == nil {
		t.Error("Read() after Close() = nil error, want an error")
	}
	if c.HeldSlots() != 0 {
		t.Error("the slot is held after Close()")
	}
}

func TestGetBlob_CloseDuringResume(t *testing.T) {
	registrytest.NoLeaks(t)
	// Only closing the blob cancels the resumed request, as when a transport closes the
	// body of a failed request.
	resumes := make(chan struct{})
	host := resuming(t, large, func(_ http.ResponseWriter, r *http.Request) {
		close(resumes)
		<-r.Context().Done()
	})
	c := newClient(t)
	blob, err := c.pull(t, host+"/app").GetBlob(t.Context(), descriptor(large))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := io.Copy(io.Discard, blob)
		ended <- err
	}()
	<-resumes
	_ = blob.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("GetBlob() ended with %v, want context.Canceled", err)
	}
}
