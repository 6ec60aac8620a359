package registrytest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Pushed is content that Push pushed.
type Pushed struct {
	Manifest
	// Ref is the reference by tag, or by digest if the content has no tag. Pinned is the
	// reference by digest.
	Ref, Pinned string
	// Tree is the expected result of Read.
	Tree Tree
}

// Push pushes content to a repository: first blobs, then children, then the manifest under tag,
// or under its digest if tag is "". It fails the test if the registry rejects any of it.
func (r *Registry) Push(t testing.TB, repo, tag string, content Content) Pushed {
	t.Helper()
	m := content.Build()
	pushed := Pushed{Manifest: m, Pinned: r.Ref(repo, string(m.Digest)), Tree: m.tree()}
	pushed.Ref = pushed.Pinned
	if tag != "" {
		pushed.Ref = r.Ref(repo, tag)
	}
	seen := map[digest.Digest]bool{}
	var push func(m Manifest, reference string)
	push = func(m Manifest, reference string) {
		for _, b := range m.Blobs {
			if d := b.Descriptor().Digest; !b.Absent && !seen[d] {
				seen[d] = true
				r.PushBlob(t, repo, b)
			}
		}
		for _, child := range m.Manifests {
			if !seen[child.Digest] {
				seen[child.Digest] = true
				push(child, string(child.Digest))
			}
		}
		if a := r.PutManifest(t, repo, reference, m); a.Status != http.StatusCreated {
			t.Fatalf("push %s (%s) as %s: %s", m.Digest, m.MediaType, r.Ref(repo, reference), a)
		}
	}
	if tag == "" {
		tag = string(m.Digest)
	}
	push(m, tag)
	return pushed
}

// PutManifest pushes a manifest under a tag or digest, without the content that it refers to.
// It returns the response, even if that is an error.
func (r *Registry) PutManifest(t testing.TB, repo, reference string, m Manifest) Answer {
	t.Helper()
	header := http.Header{"Content-Type": {m.MediaType}}
	return r.do(t, http.MethodPut, repo, "/v2/"+repo+"/manifests/"+reference, header, strings.NewReader(string(m.Bytes)), int64(len(m.Bytes)))
}

// PushBlob pushes a blob to a repository. It fails the test if the registry rejects the blob.
func (r *Registry) PushBlob(t testing.TB, repo string, b Blob) {
	t.Helper()
	d := b.Descriptor()
	opened := r.do(t, http.MethodPost, repo, "/v2/"+repo+"/blobs/uploads/", nil, nil, 0)
	if opened.Status != http.StatusAccepted {
		t.Fatalf("push the blob %s to %s/%s: POST: %s", d.Digest, r.Addr, repo, opened)
	}
	location, err := url.Parse(opened.Header.Get("Location"))
	if err != nil {
		t.Fatalf("push the blob %s to %s/%s: Location: %v", d.Digest, r.Addr, repo, err)
	}
	query := location.Query()
	query.Set("digest", string(d.Digest))
	closed := r.do(t, http.MethodPut, repo, location.EscapedPath()+"?"+query.Encode(),
		http.Header{"Content-Type": {"application/octet-stream"}}, b.Open(), d.Size)
	if closed.Status != http.StatusCreated {
		t.Fatalf("push the blob %s to %s/%s: PUT: %s", d.Digest, r.Addr, repo, closed)
	}
}

// Answer is a response of a registry.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// String returns a one-line summary of the response for failure messages.
func (a Answer) String() string {
	return fmt.Sprintf("HTTP %d, %s, %.300q", a.Status, a.Header.Get("Content-Type"), a.Body)
}

// Get sends a GET request for a path such as "/v2/app/tags/list" with the given headers, and
// returns the response. repo is the repository that the request is authorized for.
func (r *Registry) Get(t testing.TB, repo, path string, header http.Header) Answer {
	t.Helper()
	return r.do(t, http.MethodGet, repo, path, header, nil, 0)
}

// Do is like Get, with any method and a body.
func (r *Registry) Do(t testing.TB, method, repo, path string, header http.Header, body string) Answer {
	t.Helper()
	return r.do(t, method, repo, path, header, strings.NewReader(body), int64(len(body)))
}

// do sends a request and returns the response with its whole body. It fails the test only if
// the registry does not respond.
func (r *Registry) do(t testing.TB, method, repo, path string, header http.Header, body io.Reader, size int64) Answer {
	t.Helper()
	res := r.send(t, method, repo, path, header, body, size)
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return Answer{Status: res.StatusCode, Header: res.Header, Body: content}
}

func (r *Registry) send(t testing.TB, method, repo, path string, header http.Header, body io.Reader, size int64) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.direct+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if req.ContentLength = size; size == 0 {
		req.Body = http.NoBody
	}
	for name, values := range header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	if r.authorize != nil {
		r.authorize(req, repo)
	}
	if r.handler != nil {
		response := httptest.NewRecorder()
		r.handler.ServeHTTP(response, req)
		return response.Result()
	}
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}
