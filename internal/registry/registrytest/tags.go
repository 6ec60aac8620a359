package registrytest

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Digest returns the digest of the manifest that a tag refers to, or "" if the tag does not
// exist. It computes the digest from the content. It fails the test on any other response.
func (r *Registry) Digest(t testing.TB, repo, tag string) digest.Digest {
	t.Helper()
	a := r.Get(t, repo, "/v2/"+repo+"/manifests/"+tag, acceptAll())
	if a.Status == http.StatusNotFound {
		return ""
	}
	_, d := r.manifest(t, repo, tag)
	return d
}

// Tags returns the sorted tags of a repository, or none if the repository does not exist.
func (r *Registry) Tags(t testing.TB, repo string) []string {
	t.Helper()
	a := r.Get(t, repo, "/v2/"+repo+"/tags/list?n=1000", nil)
	if a.Status == http.StatusNotFound {
		return nil
	}
	var response struct{ Tags []string }
	if err := json.Unmarshal(a.Body, &response); err != nil || a.Status != http.StatusOK {
		t.Fatalf("tags of %s/%s: %s", r.Addr, repo, a)
	}
	slices.Sort(response.Tags)
	return response.Tags
}

// Retag makes tag refer to the same manifest as from, a tag or digest of the same repository.
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

// HasManifest reports whether a repository has a manifest with the given tag or digest.
func (r *Registry) HasManifest(t testing.TB, repo, reference string) bool {
	t.Helper()
	return r.has(t, repo, "/v2/"+repo+"/manifests/"+reference)
}

// HasBlob reports whether a repository has a blob.
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

// DeleteTag deletes a tag but not its manifest. docker/distribution 2.8.3 does not support that
// and fails the test.
func (r *Registry) DeleteTag(t testing.TB, repo, tag string) {
	t.Helper()
	r.delete(t, repo, "/v2/"+repo+"/manifests/"+tag)
}

// DeleteManifest deletes a manifest and all of its tags.
func (r *Registry) DeleteManifest(t testing.TB, repo string, d digest.Digest) {
	t.Helper()
	r.delete(t, repo, "/v2/"+repo+"/manifests/"+string(d))
}

// DeleteBlob deletes a blob from a repository even if manifests refer to it, as an ill-timed
// garbage collection does.
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
