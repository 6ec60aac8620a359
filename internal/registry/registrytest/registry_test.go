package registrytest_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	ociArtifact    = "application/vnd.oci.artifact.manifest.v1+json"
	schema1Signed  = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// everyRegistry runs f against distribution v3, docker/distribution 2.8.3 and
// the scripted one.
func everyRegistry(t *testing.T, f func(t *testing.T, kind string, start func(testing.TB, ...registrytest.Option) *registrytest.Registry)) {
	kinds := map[string]func(testing.TB, ...registrytest.Option) *registrytest.Registry{
		"v3": registrytest.V3,
		"v2": registrytest.V2,
		"scripted": func(t testing.TB, options ...registrytest.Option) *registrytest.Registry {
			return registrytest.Scripted(t, registrytest.Behaviour{}, options...)
		},
	}
	for kind, start := range kinds {
		t.Run(kind, func(t *testing.T) { f(t, kind, start) })
	}
}

// contents has each kind of content that both real registries accept.
var contents = map[string]struct {
	content   registrytest.Content
	mediaType string
}{
	"oci_image":      {registrytest.Image{Seed: "a"}, ocispec.MediaTypeImageManifest},
	"docker_image":   {registrytest.Image{Seed: "a", Docker: true}, dockerManifest},
	"oci_index":      {registrytest.MultiArch("a"), ocispec.MediaTypeImageIndex},
	"docker_list":    {registrytest.DockerList("a"), dockerList},
	"nested_index":   {registrytest.Nested("a"), ocispec.MediaTypeImageIndex},
	"artifact":       {registrytest.Artifact{Seed: "a"}, ocispec.MediaTypeImageManifest},
	"type_in_config": {registrytest.Artifact{Seed: "a", TypeInConfig: true}, ocispec.MediaTypeImageManifest},
	"referrer":       {registrytest.Artifact{Seed: "a", Subject: registrytest.Image{Seed: "a"}}, ocispec.MediaTypeImageManifest},
	"sha512_blobs":   {registrytest.Image{Seed: "a", BlobAlgorithm: digest.SHA512}, ocispec.MediaTypeImageManifest},
	"large_layer":    {registrytest.Image{Seed: "a", Layers: []registrytest.Blob{registrytest.Layer("large", 8<<20)}}, ocispec.MediaTypeImageManifest},
	"shared_layers":  {registrytest.Image{Seed: "b", Layers: []registrytest.Blob{registrytest.Layer("large", 8<<20)}}, ocispec.MediaTypeImageManifest},
	"empty_layer":    {registrytest.Image{Seed: "a", Layers: []registrytest.Blob{registrytest.Layer("", 0)}}, ocispec.MediaTypeImageManifest},
}

func TestRegistry_PushAndRead(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start func(testing.TB, ...registrytest.Option) *registrytest.Registry) {
		reg := start(t)
		for name, c := range contents {
			t.Run(name, func(t *testing.T) {
				repo := "app/" + strings.ReplaceAll(name, "_", "-")
				pushed := reg.Push(t, repo, "1.0", c.content)
				if pushed.MediaType != c.mediaType {
					t.Errorf("Push() media type = %s, want %s", pushed.MediaType, c.mediaType)
				}
				if want := reg.Addr + "/" + repo; pushed.Ref != want+":1.0" || pushed.Pinned != want+"@"+string(pushed.Digest) {
					t.Errorf("Push() Ref = %q, Pinned = %q", pushed.Ref, pushed.Pinned)
				}
				registrytest.Same(t, pushed.Tree, reg.Read(t, repo, "1.0"))
				registrytest.Same(t, pushed.Tree, reg.Read(t, repo, string(pushed.Digest)))
			})
		}
	})
}

func TestSchema1_KeepsPayloadAndDigest(t *testing.T) {
	reg := registrytest.V2(t, registrytest.Schema1())
	pushed := reg.Push(t, "app", "old", registrytest.Schema1Image{Seed: "a"})
	registrytest.Same(t, pushed.Tree, reg.Read(t, "app", "old"))
	registrytest.Same(t, pushed.Tree, reg.Read(t, "app", string(pushed.Digest)))
	first := reg.Get(t, "app", "/v2/app/manifests/old", nil)
	second := reg.Get(t, "app", "/v2/app/manifests/old", nil)
	if bytes.Equal(first.Body, second.Body) {
		t.Error("two responses are equal, but 2.8.3 signs each one again")
	}
}

// Only a scripted registry can store content that the real registries reject.
func TestPutManifest_RejectedByRealRegistries(t *testing.T) {
	v3, v2 := registrytest.V3(t), registrytest.V2(t)
	invalid := "HTTP 400, MANIFEST_INVALID"
	for name, c := range map[string]struct {
		content registrytest.Content
		v3, v2  string
	}{
		// docker/distribution 2.8.3 has no error code for it.
		"schema_1":        {registrytest.Schema1Image{Seed: "a"}, invalid, "HTTP 500, UNKNOWN"},
		"sha512_manifest": {registrytest.Image{Seed: "a", Algorithm: digest.SHA512}, "HTTP 400, DIGEST_INVALID", "HTTP 400, DIGEST_INVALID"},
		"unknown_type":    {registrytest.Raw{MediaType: "application/vnd.example+json", Bytes: []byte(`{}`)}, invalid, invalid},
		"oci_artifact":    {registrytest.Raw{MediaType: ociArtifact, Bytes: []byte(`{"mediaType":"` + ociArtifact + `"}`)}, invalid, invalid},
		"missing_blob":    {registrytest.Image{Seed: "a", Layers: []registrytest.Blob{{Seed: "absent", Size: 9, Absent: true}}}, "HTTP 400, MANIFEST_BLOB_UNKNOWN", "HTTP 400, MANIFEST_BLOB_UNKNOWN"},
		"missing_child":   {registrytest.Index{Manifests: []registrytest.Content{registrytest.Image{Seed: "absent"}}}, "HTTP 400, MANIFEST_BLOB_UNKNOWN", "HTTP 400, MANIFEST_BLOB_UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			for reg, want := range map[*registrytest.Registry]string{v3: c.v3, v2: c.v2} {
				m := c.content.Build()
				for _, b := range m.Blobs {
					if !b.Absent {
						reg.PushBlob(t, "app", b)
					}
				}
				a := reg.PutManifest(t, "app", string(m.Digest), m)
				status, code, _ := strings.Cut(want, ", ")
				if !strings.HasPrefix(a.String(), status) || !strings.Contains(string(a.Body), `"`+code+`"`) {
					t.Errorf("PutManifest() = %s, want %s", a, want)
				}
			}
		})
	}
}

// Without an Accept header, docker/distribution 2.8.3 returns a schema 1 manifest that it
// generated. A client that pushes it with the media type of the image is rejected.
func TestGet_WithoutAcceptHeader(t *testing.T) {
	reg := registrytest.V2(t)
	pushed := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a", Docker: true})

	got := reg.Get(t, "app", "/v2/app/manifests/1.0", nil)
	if mediaType := got.Header.Get("Content-Type"); got.Status != http.StatusOK || mediaType != schema1Signed {
		t.Fatalf("Get() without Accept = %s, want %s", got, schema1Signed)
	}
	put := reg.PutManifest(t, "app", "copy", registrytest.Manifest{MediaType: pushed.MediaType, Bytes: got.Body})
	if put.Status != http.StatusBadRequest || !strings.Contains(string(put.Body), "MANIFEST_INVALID") {
		t.Errorf("PutManifest() = %s, want HTTP 400 with MANIFEST_INVALID", put)
	}

	withAccept := reg.Get(t, "app", "/v2/app/manifests/1.0", http.Header{"Accept": {dockerManifest}})
	if withAccept.Header.Get("Content-Type") != dockerManifest || !bytes.Equal(withAccept.Body, pushed.Bytes) {
		t.Errorf("Get() with Accept = %s, want the pushed content", withAccept)
	}
}
