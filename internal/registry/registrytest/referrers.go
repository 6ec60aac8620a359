package registrytest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Attach pushes content that has a subject under its digest. If the registry has no referrers
// API, it also adds the content to the index under the referrers tag, as a client must (OCI
// distribution specification, "Pushing Manifests with Subject").
func (r *Registry) Attach(t testing.TB, repo string, referrer Content) Pushed {
	t.Helper()
	pushed := r.Push(t, repo, "", referrer)
	subject := subjectOf(t, pushed.Bytes)
	if a := r.Get(t, repo, "/v2/"+repo+"/referrers/"+string(subject), nil); a.Status == http.StatusOK {
		return pushed
	}
	tag := ReferrersTag(subject)
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
	index.SchemaVersion = 2
	if r.HasManifest(t, repo, tag) {
		m, _ := r.manifest(t, repo, tag)
		if err := json.Unmarshal([]byte(m.Content), &index); err != nil {
			t.Fatalf("read %s: %v", r.Ref(repo, tag), err)
		}
	}
	if slices.ContainsFunc(index.Manifests, func(d ocispec.Descriptor) bool { return d.Digest == pushed.Digest }) {
		return pushed
	}
	index.Manifests = append(index.Manifests, pushed.Descriptor())
	content, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	if a := r.PutManifest(t, repo, tag, Manifest{MediaType: index.MediaType, Bytes: content}); a.Status != http.StatusCreated {
		t.Fatalf("list the referrer %s under %s: %s", pushed.Digest, r.Ref(repo, tag), a)
	}
	return pushed
}

// Referrers returns the digests that a repository lists as referrers of a subject, in the order
// of the registry. It reads all pages of the referrers API, or the index under the referrers
// tag if the registry does not support the API.
func (r *Registry) Referrers(t testing.TB, repo string, subject digest.Digest) (listed []digest.Digest) {
	t.Helper()
	path := "/v2/" + repo + "/referrers/" + string(subject)
	a := r.Get(t, repo, path, nil)
	if a.Status == http.StatusNotFound {
		if path = "/v2/" + repo + "/manifests/" + ReferrersTag(subject); !r.has(t, repo, path) {
			return nil
		}
	}
	for path != "" {
		a := r.Get(t, repo, path, acceptAll())
		var index ocispec.Index
		if err := json.Unmarshal(a.Body, &index); err != nil || a.Status != http.StatusOK {
			t.Fatalf("list what refers to %s: %s", r.Ref(repo, string(subject)), a)
		}
		for _, d := range index.Manifests {
			listed = append(listed, d.Digest)
		}
		next, _, _ := strings.Cut(a.Header.Get("Link"), ">")
		path = strings.TrimPrefix(next, "<")
	}
	return listed
}

// ReferrersTag returns the tag under which clients store the index of referrers of d.
func ReferrersTag(d digest.Digest) string {
	return strings.Replace(string(d), ":", "-", 1)[:min(len(d), len(d.Algorithm())+1+64)]
}

// subjectOf returns the subject of a manifest. It fails the test if the manifest has no
// subject.
func subjectOf(t testing.TB, manifest []byte) digest.Digest {
	t.Helper()
	var m struct{ Subject *ocispec.Descriptor }
	if err := json.Unmarshal(manifest, &m); err != nil || m.Subject == nil {
		t.Fatalf("it has no subject: %.300q, %v", manifest, err)
	}
	return m.Subject.Digest
}
