package registrytest

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Digest is the digest that a tag names, "" where there is no such tag. What it
// names is fetched and hashed. Any other answer fails the test.
func (r *Registry) Digest(t testing.TB, repo, tag string) digest.Digest {
	t.Helper()
	a := r.Get(t, repo, "/v2/"+repo+"/manifests/"+tag, acceptAll())
	if a.Status == http.StatusNotFound {
		return ""
	}
	_, d := r.manifest(t, repo, tag)
	return d
}

// Tags are the tags of a repository in alphabetical order; none where there is
// no such repository.
func (r *Registry) Tags(t testing.TB, repo string) []string {
	t.Helper()
	a := r.Get(t, repo, "/v2/"+repo+"/tags/list?n=1000", nil)
	if a.Status == http.StatusNotFound {
		return nil
	}
	var answer struct{ Tags []string }
	if err := json.Unmarshal(a.Body, &answer); err != nil || a.Status != http.StatusOK {
		t.Fatalf("tags of %s/%s: %s", r.Addr, repo, a)
	}
	slices.Sort(answer.Tags)
	return answer.Tags
}

// Retag makes tag name what from, a tag or digest of the same repository, names.
func (r *Registry) Retag(t testing.TB, repo, from, tag string) {
	t.Helper()
	a := r.Get(t, repo, "/v2/"+repo+"/manifests/"+from, acceptAll())
	if a.Status != http.StatusOK {
		t.Fatalf("retag %s: %s", r.Ref(repo, from), a)
	}
	m := Manifest{MediaType: a.Header.Get("Content-Type"), Bytes: a.Body}
	if put := r.PutManifest(t, repo, tag, m); put.Status != http.StatusCreated {
		t.Fatalf("retag %s as %s: %s", r.Ref(repo, from), tag, put)
	}
}

// HasManifest says whether a repository has a manifest under a tag or digest.
func (r *Registry) HasManifest(t testing.TB, repo, reference string) bool {
	t.Helper()
	return r.has(t, repo, "/v2/"+repo+"/manifests/"+reference)
}

// HasBlob says whether a repository has a blob.
func (r *Registry) HasBlob(t testing.TB, repo string, d digest.Digest) bool {
	t.Helper()
	return r.has(t, repo, "/v2/"+repo+"/blobs/"+string(d))
}

func (r *Registry) has(t testing.TB, repo, path string) bool {
	t.Helper()
	a := r.do(t, http.MethodHead, repo, path, acceptAll(), nil, 0)
	if a.Status != http.StatusOK && a.Status != http.StatusNotFound {
		t.Fatalf("HEAD %s: %s", path, a)
	}
	return a.Status == http.StatusOK
}

// DeleteTag removes a tag and leaves the manifest; 2.8.3 cannot, which fails the
// test.
func (r *Registry) DeleteTag(t testing.TB, repo, tag string) {
	t.Helper()
	r.delete(t, repo, "/v2/"+repo+"/manifests/"+tag)
}

// DeleteManifest removes a manifest and the tags that name it.
func (r *Registry) DeleteManifest(t testing.TB, repo string, d digest.Digest) {
	t.Helper()
	r.delete(t, repo, "/v2/"+repo+"/manifests/"+string(d))
}

// DeleteBlob takes a blob away from a repository, whatever manifests name it,
// as a garbage collection at the wrong time does.
func (r *Registry) DeleteBlob(t testing.TB, repo string, d digest.Digest) {
	t.Helper()
	r.delete(t, repo, "/v2/"+repo+"/blobs/"+string(d))
}

func (r *Registry) delete(t testing.TB, repo, path string) {
	t.Helper()
	if a := r.do(t, http.MethodDelete, repo, path, nil, nil, 0); a.Status != http.StatusAccepted {
		t.Fatalf("DELETE %s%s: %s", r.Addr, path, a)
	}
}
