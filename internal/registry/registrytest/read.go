package registrytest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"testing"

	"github.com/docker/libtrust"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Tree is all content that a tag or digest refers to, directly or indirectly.
type Tree struct {
	// Root is the digest of the manifest that was read.
	Root digest.Digest
	// Manifests has all manifests, including the root, by digest.
	Manifests map[digest.Digest]ReadManifest
	// Blobs has all blobs, by the digest in the manifest.
	Blobs map[digest.Digest]ReadBlob
}

// ReadManifest is a manifest as received. For a schema 1 manifest, Content is the payload
// without signatures, because registries may sign it again for each request.
type ReadManifest struct {
	MediaType string
	Content   string
}

// ReadBlob summarizes a blob.
type ReadBlob struct {
	SHA256 string
	Size   int64
}

// Read reads all content that a tag or digest of a repository refers to. It verifies every
// digest, and fails the test if content is missing or damaged. Layers with URLs may be missing.
func (r *Registry) Read(t testing.TB, repo, reference string) Tree {
	t.Helper()
	tree := Tree{Manifests: map[digest.Digest]ReadManifest{}, Blobs: map[digest.Digest]ReadBlob{}}
	tree.Root = r.readManifest(t, repo, reference, tree)
	return tree
}

// manifestRefs has the descriptors of a manifest of any kind.
type manifestRefs struct {
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
	Blobs     []ocispec.Descriptor `json:"blobs"`
	Manifests []ocispec.Descriptor `json:"manifests"`
	FSLayers  []struct {
		BlobSum digest.Digest `json:"blobSum"`
	} `json:"fsLayers"`
}

func (r *Registry) readManifest(t testing.TB, repo, reference string, tree Tree) digest.Digest {
	t.Helper()
	m, d := r.manifest(t, repo, reference)
	if _, seen := tree.Manifests[d]; seen {
		return d
	}
	tree.Manifests[d] = m
	var names manifestRefs
	if err := json.Unmarshal([]byte(m.Content), &names); err != nil {
		t.Fatalf("read %s: %v", r.Ref(repo, reference), err)
	}
	if names.Config != nil {
		names.Layers = append(names.Layers, *names.Config)
	}
	for _, layer := range names.FSLayers {
		names.Layers = append(names.Layers, ocispec.Descriptor{Digest: layer.BlobSum, Size: -1})
	}
	for _, blob := range append(names.Layers, names.Blobs...) {
		r.readBlob(t, repo, blob, tree)
	}
	for _, child := range names.Manifests {
		r.readManifest(t, repo, string(child.Digest), tree)
	}
	return d
}

// manifest reads a manifest and verifies its digest, which is the reference if that is a
// digest, and otherwise the one in the Docker-Content-Digest header.
func (r *Registry) manifest(t testing.TB, repo, reference string) (ReadManifest, digest.Digest) {
	t.Helper()
	a := r.Get(t, repo, "/v2/"+repo+"/manifests/"+reference, acceptAll())
	if a.Status != http.StatusOK {
		t.Fatalf("read %s: %s", r.Ref(repo, reference), a)
	}
	mediaType, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil {
		t.Fatalf("read %s: %s: %v", r.Ref(repo, reference), a, err)
	}
	content := a.Body
	if mediaType == schema1Signed {
		signed, err := libtrust.ParsePrettySignature(content, "signatures")
		if err != nil {
			t.Fatalf("read %s: %v", r.Ref(repo, reference), err)
		}
		if content, err = signed.Payload(); err != nil {
			t.Fatalf("read %s: %v", r.Ref(repo, reference), err)
		}
	}
	want := digest.Digest(reference)
	if want.Validate() != nil {
		if want = digest.Digest(a.Header.Get("Docker-Content-Digest")); want.Validate() != nil {
			want = digest.FromBytes(content)
		}
	}
	if got := want.Algorithm().FromBytes(content); got != want {
		t.Fatalf("read %s: what came has the digest %s, not %s", r.Ref(repo, reference), got, want)
	}
	return ReadManifest{MediaType: mediaType, Content: string(content)}, want
}

func (r *Registry) readBlob(t testing.TB, repo string, d ocispec.Descriptor, tree Tree) {
	t.Helper()
	if _, seen := tree.Blobs[d.Digest]; seen {
		return
	}
	res := r.send(t, http.MethodGet, repo, "/v2/"+repo+"/blobs/"+string(d.Digest), nil, nil, 0)
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusNotFound && len(d.URLs) > 0 {
		return
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("read the blob %s: %s", r.Ref(repo, string(d.Digest)), res.Status)
	}
	sum, verifier := sha256.New(), d.Digest.Verifier()
	size, err := io.Copy(io.MultiWriter(sum, verifier), res.Body)
	switch {
	case err != nil:
		t.Fatalf("read the blob %s: %v", r.Ref(repo, string(d.Digest)), err)
	case !verifier.Verified():
		t.Fatalf("read the blob %s: its bytes have another digest", r.Ref(repo, string(d.Digest)))
	case d.Size >= 0 && d.Size != size:
		t.Fatalf("read the blob %s: %d bytes, not the %d of its descriptor", r.Ref(repo, string(d.Digest)), size, d.Size)
	}
	tree.Blobs[d.Digest] = ReadBlob{SHA256: fmt.Sprintf("%x", sum.Sum(nil)), Size: size}
}

// tree returns the expected result of Read after m was pushed.
func (m Manifest) tree() Tree {
	tree := Tree{Root: m.Digest, Manifests: map[digest.Digest]ReadManifest{}, Blobs: map[digest.Digest]ReadBlob{}}
	var add func(Manifest)
	add = func(m Manifest) {
		content := m.Bytes
		if m.MediaType == schema1Signed {
			content = payload(content)
		}
		tree.Manifests[m.Digest] = ReadManifest{MediaType: m.MediaType, Content: string(bytes.Clone(content))}
		for _, b := range m.Blobs {
			if !b.Absent {
				tree.Blobs[b.Descriptor().Digest] = ReadBlob{SHA256: b.digest(digest.SHA256).Encoded(), Size: b.length()}
			}
		}
		for _, child := range m.Manifests {
			add(child)
		}
	}
	add(m)
	return tree
}

// acceptAll returns headers that accept any manifest.
func acceptAll() http.Header {
	return http.Header{"Accept": {strings.Join([]string{
		ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, dockerList, dockerManifest, ociArtifact, schema1Signed, schema1Plain, "*/*;q=0.1",
	}, ", ")}}
}
