package remote_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// large is a blob of several network packets and buffers.
var large = strings.Repeat("0123456789abcdef", 64<<10)

func TestGetBlob_ResumesAtOffset(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.PushBlob(t, "app", registrytest.Blob{Content: []byte(large)})
	d := descriptor(large)
	p.On("GET", ".*").Times(3).Cut(200_000)
	c := newClient(t)
	got, err := readAll(t, c.pull(t, p.Ref("app", "1")), d)
	if err != nil || got != large {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
	// What was read is not asked for again. Of the last bytes before a cut some
	// may be lost.
	at := -1
	for i, r := range p.Requests() {
		var from int
		if i > 0 {
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err != nil || from <= at || from > i*200_000 {
				t.Errorf("request %d asks for %q, after %d", i, r.Header.Get("Range"), at)
			}
		} else if r.Header.Get("Range") != "" {
			t.Errorf("the first request has a Range")
		}
		at = from
	}
	if n := len(p.Requests()); n != 4 {
		t.Errorf("%d requests, want 4", n)
	}
}

func TestGetBlob_ResumeLimit(t *testing.T) {
	for name, cut := range map[string]int64{"not a byte": 0, "a byte each time": 1} {
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
				t.Errorf("%d requests, want %d", n, remote.MaxResumes+1)
			}
		})
	}
}

// resuming is a server whose first answer breaks off half way, and whose next
// ones are a function's.
func resuming(t *testing.T, content string, next http.HandlerFunc) string {
	t.Helper()
	var asked atomic.Int32
	return address(servePlain(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) > 1 {
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
		"the rest":                       {rest(206, "56789", "bytes 5-9/10"), nil},
		"the rest of an unknown whole":   {rest(206, "56789", "bytes 5-9/*"), nil},
		"all of it":                      {rest(200, content), nil},
		"all of it, of unknown length":   {serveBlob(content), nil},
		"another start":                  {rest(206, "6789", "bytes 6-9/10"), registry.ErrProtocol},
		"from the beginning":             {rest(206, content, "bytes 0-9/10"), registry.ErrProtocol},
		"another end":                    {rest(206, "567", "bytes 5-7/10"), registry.ErrProtocol},
		"of another whole":               {rest(206, "56789", "bytes 5-9/11"), registry.ErrProtocol},
		"two ranges":                     {rest(206, "56789", "bytes 5-9/10", "bytes 5-9/10"), registry.ErrProtocol},
		"no range":                       {rest(206, "56789"), registry.ErrProtocol},
		"garbage":                        {rest(206, "56789", "5 to 9"), registry.ErrProtocol},
		"other bytes":                    {rest(206, "ABCDE", "bytes 5-9/10"), registry.ErrMismatch},
		"another whole":                  {rest(200, "ABCDEFGHIJ"), registry.ErrMismatch},
		"a whole of another length":      {rest(200, "0123456789a"), registry.ErrMismatch},
		"more than the rest":             {rest(206, "56789a", "bytes 5-9/10"), registry.ErrMismatch},
		"gone":                           {rest(404, string(registrytest.ErrorBody("BLOB_UNKNOWN", ""))), registry.ErrNotFound},
		"not to be had in parts":         {rest(416, ""), registry.ErrDenied},
		"nothing although there is some": {rest(204, ""), registry.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			repo := newClient(t).pull(t, resuming(t, content, test.next)+"/app")
			got, err := readAll(t, repo, descriptor(content))
			switch {
			case test.want != nil:
				assertErrorKind(t, err, test.want)
			case err != nil || got != content:
				t.Errorf("read %q, %v", got, err)
			}
			// The digest of the first half is not known: it may have been read.
			if !strings.HasPrefix(content, got) {
				t.Errorf("%q was handed out", got)
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
		t.Errorf("read %q with %d signatures, %d of them stale: %v", got, signatures.Load(), stale.Load(), err)
	}
}

func TestGetBlob_ContentMismatch(t *testing.T) {
	const content = "0123456789"
	for name, answer := range map[string]http.HandlerFunc{
		"other bytes":        serveBlob("ABCDEFGHIJ"),
		"too few":            func(w http.ResponseWriter, r *http.Request) { writeWithoutLength(w, "01234") },
		"too many":           func(w http.ResponseWriter, r *http.Request) { writeWithoutLength(w, content+"!") },
		"a length too small": serveBlob("01234"),
		"a length too large": serveBlob(content + "!"),
		"a length and no page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = io.WriteString(w, "<html>")
		},
		"a page of some text": func(w http.ResponseWriter, _ *http.Request) { writeWithoutLength(w, "<html>") },
		"none of it":          func(http.ResponseWriter, *http.Request) {},
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, content); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := servePlain(t, answer)
			got, err := readAll(t, newClient(t).pull(t, address(server)+"/app"), descriptor(content))
			assertContains(t, assertErrorKind(t, err, registry.ErrMismatch).Error(), address(server)+"/app", string(descriptor(content).Digest))
			if len(got) >= len(content) {
				t.Errorf("%d bytes were handed out", len(got))
			}
			if strings.HasPrefix(name, "a length") {
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

// chunked answers without saying how much there is.
func writeWithoutLength(w http.ResponseWriter, content string) {
	_ = http.NewResponseController(w).Flush()
	_, _ = io.WriteString(w, content)
}

// packed is content as it is compressed for the way.
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

// Unpacked, each of these would be what was asked for.
func TestRequest_CompressedResponse(t *testing.T) {
	const content = `{"tags":["1"]}`
	for name, ask := range map[string]func(registry.Repository) error{
		"a manifest by tag": func(r registry.Repository) error { _, err := r.GetManifest(t.Context(), "1"); return err },
		"a manifest by digest": func(r registry.Repository) error {
			_, err := r.GetManifest(t.Context(), string(descriptor(content).Digest))
			return err
		},
		"a blob": func(r registry.Repository) error { _, err := readAll(t, r, descriptor(content)); return err },
		"a list": func(r registry.Repository) error { _, err := r.ListTags(t.Context()); return err },
	} {
		for _, encoding := range []string{"gzip", "GZIP", "x-gzip", "br"} {
			t.Run(name+", "+encoding, func(t *testing.T) {
				server := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
					if got := r.Header.Values("Accept-Encoding"); len(got) != 1 || got[0] != "identity" {
						t.Errorf("the request accepts %q", got)
					}
					w.Header().Set("Content-Encoding", encoding)
					w.Header().Set("Content-Type", registry.MediaTypeDockerManifest)
					_, _ = w.Write(gzipped(t, content))
				})
				err := ask(newClient(t).pull(t, address(server)+"/app"))
				assertContains(t, assertErrorKind(t, err, registry.ErrProtocol).Error(), address(server)+"/app", "packed with Content-Encoding "+encoding)
			})
		}
	}
}

func TestGetBlob_ConnectionLostAfterLastByte(t *testing.T) {
	server := servePlain(t, func(w http.ResponseWriter, _ *http.Request) {
		writeWithoutLength(w, "content")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // before the chunk that ends it
	})
	c := newClient(t)
	got, err := readAll(t, c.pull(t, address(server)+"/app"), descriptor("content"))
	if err != nil || got != "content" {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestStatBlob(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.PushBlob(t, "app", registrytest.Blob{Content: []byte("content")})
	repo := newClient(t).pull(t, p.Ref("app", "1"))
	d, err := repo.StatBlob(t.Context(), descriptor("content").Digest)
	if err != nil || d.Size != 7 || d.Digest != descriptor("content").Digest {
		t.Errorf("the blob is %+v, %v", d, err)
	}
	_, err = repo.StatBlob(t.Context(), descriptor("other").Digest)
	assertErrorKind(t, err, registry.ErrNotFound)
	if p.Count("HEAD", ".*") != 2 || len(p.Requests()) != 2 {
		t.Errorf("asked %+v", p.Requests())
	}
	p.On("HEAD", ".*").Reply(http.StatusMethodNotAllowed, nil, "")
	if d, err := repo.StatBlob(t.Context(), descriptor("content").Digest); err != nil || d.Size != 7 {
		t.Errorf("without HEAD: %+v, %v", d, err)
	}
	// 403 is unknown, and not an answer.
	p.Clear()
	p.On("HEAD", ".*").Reply(http.StatusForbidden, nil, "")
	_, err = repo.StatBlob(t.Context(), descriptor("content").Digest)
	assertErrorKind(t, err, registry.ErrDenied)
	p.Clear()
	p.On("HEAD", ".*").Alter(func(r *http.Response) { r.Header.Del("Content-Length"); r.ContentLength = -1 })
	_, err = repo.StatBlob(t.Context(), descriptor("content").Digest)
	assertErrorKind(t, err, registry.ErrProtocol)
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
		t.Error("what was closed gave more")
	}
	if c.HeldSlots() != 0 {
		t.Error("the slot is still held")
	}
}

func TestGetBlob_CloseDuringResume(t *testing.T) {
	registrytest.NoLeaks(t)
	// Nobody cancels it but who closes it, as a transport does with a body whose
	// request has failed.
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
		t.Errorf("it ended with %v", err)
	}
}

func TestRepository_InvalidDescriptor(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	repo := newClient(t).push(t, p.Ref("app", "1"))
	good := descriptor("content")
	for name, test := range map[string]struct {
		size int64
		kind error
	}{
		"negative":              {-1, registry.ErrInvalidManifest},
		"the most negative":     {math.MinInt64, registry.ErrInvalidManifest},
		"0, and not of nothing": {0, registry.ErrInvalidManifest},
		"2^63-1":                {math.MaxInt64, registry.ErrLimit},
	} {
		t.Run(name, func(t *testing.T) {
			d := registry.Descriptor{Digest: good.Digest, Size: test.size}
			_, err := repo.GetBlob(t.Context(), d)
			assertErrorKind(t, err, test.kind)
			_, err = repo.PutBlob(t.Context(), d, newBody(t, "content").get())
			assertErrorKind(t, err, test.kind)
		})
	}
	for _, d := range badDigests {
		_, err := repo.GetBlob(t.Context(), registry.Descriptor{Digest: d, Size: 1})
		assertErrorKind(t, err, registry.ErrInvalidManifest)
		_, err = repo.PutBlob(t.Context(), registry.Descriptor{Digest: d, Size: 1}, newBody(t, "x").get())
		assertErrorKind(t, err, registry.ErrInvalidManifest)
		_, err = repo.StatBlob(t.Context(), d)
		assertErrorKind(t, err, registry.ErrInvalidReference)
	}
	if n := len(p.Requests()); n != 0 {
		t.Errorf("asked %+v", p.Requests())
	}
}

// badDigests are none, of an algorithm that can be computed, in its own form.
var badDigests = []digest.Digest{
	"", "sha256:", "sha256:abc", "sha256:../../x", "md5:d41d8cd98f00b204e9800998ecf8427e",
	"sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", // in upper case
	"SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	"sha256%3Ae3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", // percent-encoded
	"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85?",
}

func TestRepository_InvalidReference(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	repo := newClient(t).push(t, p.Ref("app", "1"))
	references := []string{
		"..", "a/b", "a//b", "a?b", "a#b", "a\rb", "a\nb", "a\x00", strings.Repeat("a", 129), "-a", ".a", "a b", "%2e",
		"https://example.com", "user@example.com",
	}
	for _, d := range badDigests {
		references = append(references, string(d))
	}
	for _, reference := range references {
		_, err := repo.GetManifest(t.Context(), reference)
		assertErrorKind(t, err, registry.ErrInvalidReference)
		_, err = repo.Resolve(t.Context(), reference)
		assertErrorKind(t, err, registry.ErrInvalidReference)
		assertErrorKind(t, repo.PutManifest(t.Context(), reference, registry.Manifest{}), registry.ErrInvalidReference)
		assertErrorKind(t, repo.DeleteTag(t.Context(), reference), registry.ErrInvalidReference)
		assertErrorKind(t, repo.DeleteManifest(t.Context(), digest.Digest(reference)), registry.ErrInvalidReference)
	}
	if n := len(p.Requests()); n != 0 {
		t.Errorf("asked %+v", p.Requests())
	}
}
