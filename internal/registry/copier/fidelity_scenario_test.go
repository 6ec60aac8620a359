package copier_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// Media types that the copier must support, independent of its own constants.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	schema1Signed  = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	schema1Plain   = "application/vnd.docker.distribution.manifest.v1+json"
	ociArtifact    = "application/vnd.oci.artifact.manifest.v1+json"
)

func TestCopy_DockerManifestFromV2(t *testing.T) {
	t.Parallel()
	old, v3 := registrytest.V2(t), registrytest.V3(t)
	image := registrytest.Image{Seed: "report", Docker: true}
	pushed := old.Push(t, "acme/app", "1.4", image)

	// A copy with plain requests fails: without an Accept header, a GET returns another
	// manifest than the one that was pushed.
	for _, blob := range pushed.Blobs {
		v3.PushBlob(t, "byhand/app", blob)
	}
	got := old.Get(t, "acme/app", "/v2/acme/app/manifests/1.4", nil)
	if mediaType := got.Header.Get("Content-Type"); mediaType != schema1Signed {
		t.Fatalf("Content-Type without an Accept header = %s, want %s", mediaType, schema1Signed)
	}
	put := v3.PutManifest(t, "byhand/app", "1.4", registrytest.Manifest{MediaType: dockerManifest, Bytes: got.Body})
	if put.Status != http.StatusBadRequest || !strings.Contains(string(put.Body), "MANIFEST_INVALID") {
		t.Fatalf("response to that manifest as %s = %s, want MANIFEST_INVALID", dockerManifest, put)
	}

	report := newEngine(t).copy(t, pushed.Ref, v3.Ref("prod/app", "1.4"))
	if report.Digest != pushed.Digest || report.MediaType != dockerManifest {
		t.Errorf("Copy() report = %s (%s), want %s (%s)", report.Digest, report.MediaType, pushed.Digest, dockerManifest)
	}
	registrytest.Same(t, pushed.Tree, v3.Read(t, "prod/app", "1.4"))
}

func TestCopy_ImageKinds(t *testing.T) {
	t.Parallel()
	kinds := map[string]registrytest.Content{
		"oci_image":                  registrytest.Image{Seed: "a"},
		"docker_image":               registrytest.Image{Seed: "b", Docker: true},
		"oci_index_with_attestation": registrytest.MultiArch("c"),
		"docker_manifest_list":       registrytest.DockerList("d"),
		"nested_index":               registrytest.Nested("e"),
		"artifact":                   registrytest.Artifact{Seed: "f"},
		"referrer":                   registrytest.Artifact{Seed: "g", Subject: registrytest.Image{Seed: "a"}},
		"sha512_blobs":               registrytest.Image{Seed: "h", BlobAlgorithm: digest.SHA512},
		"empty_blob":                 registrytest.Image{Seed: "i", Layers: []registrytest.Blob{registrytest.Layer("", 0)}},
		"empty_index":                registrytest.Index{Annotations: map[string]string{"empty": "yes"}},
	}
	v3, v2 := registrytest.V3(t), registrytest.V2(t)
	for _, route := range []struct {
		name     string
		from, to *registrytest.Registry
	}{{"v3_to_v2", v3, v2}, {"v2_to_v3", v2, v3}, {"v3_to_v3", v3, v3}, {"v2_to_v2", v2, v2}} {
		for name, content := range kinds {
			t.Run(route.name+"/"+name, func(t *testing.T) {
				e := newEngine(t)
				repo := route.name + "/" + name
				pushed := route.from.Push(t, "from/"+repo, "1", content)
				report := e.copy(t, pushed.Ref, route.to.Ref("to/"+repo, "1"))
				if report.Digest != pushed.Digest || report.MediaType != pushed.MediaType {
					t.Errorf("Copy() report = %s (%s), want %s (%s)", report.Digest, report.MediaType, pushed.Digest, pushed.MediaType)
				}
				registrytest.Same(t, pushed.Tree, route.to.Read(t, "to/"+repo, "1"))
			})
		}
	}
}

func TestCopy_Schema1(t *testing.T) {
	t.Parallel()
	from, to := registrytest.V2(t, registrytest.Schema1()), registrytest.V2(t, registrytest.Schema1())
	pushed := from.Push(t, "app", "old", registrytest.Schema1Image{Seed: "a", Tag: "old"})
	report := newEngine(t).copy(t, pushed.Ref, to.Ref("app", "old"))
	if report.Digest != pushed.Digest || report.MediaType != schema1Signed {
		t.Errorf("Copy() report = %s (%s), want %s (%s)", report.Digest, report.MediaType, pushed.Digest, schema1Signed)
	}
	if report.Copied.Blobs != 2 || report.Copied.Bytes != 23_000 {
		t.Errorf("Copy() copied = %+v, want 2 blobs of 23000 bytes", report.Copied)
	}
	registrytest.Same(t, pushed.Tree, to.Read(t, "app", "old"))
}

func TestCopy_Schema1Rejected(t *testing.T) {
	t.Parallel()
	from, to := registrytest.V2(t, registrytest.Schema1()), registrytest.V3(t)
	pushed := from.Push(t, "app", "old", registrytest.Schema1Image{Seed: "a", Tag: "old"})
	err := newEngine(t).copyError(t, pushed.Ref, to.Ref("app", "old"), registry.Destination, registry.ErrInvalidManifest)
	assertContains(t, err.Hint, "schema 1", "no longer accepts", "push the image again")
	assertContains(t, err.Error(), "MANIFEST_INVALID", to.Addr+"/app")
	if tags := to.Tags(t, "app"); len(tags) > 0 {
		t.Errorf("destination tags = %v, want none", tags)
	}
}

func TestCopy_Schema1MissingLayer(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "old", registrytest.Schema1Image{Seed: "a", Tag: "old"})
	gone := pushed.Blobs[1].Descriptor().Digest
	from.DeleteBlob(t, "app", gone)
	err := newEngine(t).copyError(t, from.Ref("app", "old"), to.Ref("to", "1"), registry.Source, registry.ErrMissingContent)
	assertContains(t, err.Error(), string(gone), from.Addr+"/app")
	if w := to.Count("PUT", ".*/manifests/.*"); w != 0 {
		t.Errorf("destination received %d pushes of manifests, want 0", w)
	}
}

func TestCopy_SHA512Manifest(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Scripted(t, registrytest.Behaviour{}), registrytest.Scripted(t, registrytest.Behaviour{})
	image := registrytest.Image{Seed: "a", Algorithm: digest.SHA512, BlobAlgorithm: digest.SHA512}
	pushed := from.Push(t, "app", "", registrytest.Index{Algorithm: digest.SHA512, Manifests: []registrytest.Content{image}})
	e, p := newEngine(t), registrytest.Intercept(t, to)

	report := e.copy(t, pushed.Ref, p.Ref("app", "1"))
	if report.Digest != pushed.Digest {
		t.Errorf("Copy() digest = %s, want %s", report.Digest, pushed.Digest)
	}
	// For a push by tag, the registry uses a sha256 digest.
	registrytest.Same(t, pushed.Tree, to.Read(t, "app", string(pushed.Digest)))
	if got := to.Digest(t, "app", "1"); got != digest.FromBytes(pushed.Bytes) {
		t.Errorf("tag has digest %s, want %s", got, digest.FromBytes(pushed.Bytes))
	}

	p.Forget()
	report = e.copy(t, pushed.Ref, p.Ref("app", "1"))
	if report.Digest != pushed.Digest || !slices.Equal(report.Tagged, []string{"1"}) {
		t.Errorf("second Copy() digest = %s with tags %v, want %s with tag 1", report.Digest, report.Tagged, pushed.Digest)
	}
	if w := writeRequests(p); len(w) > 0 {
		t.Errorf("second Copy() sent write requests: %+v", w)
	}
}

func TestCopy_UnsupportedDigestAlgorithm(t *testing.T) {
	t.Parallel()
	reg := registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true})
	blob := registrytest.Blob{Seed: "a", Size: 10, MediaType: ocispec.MediaTypeImageLayer}.Descriptor()
	body := `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":{"mediaType":"x","digest":"md5:d41d8cd98f00b204e9800998ecf8427e","size":5},"layers":[{"mediaType":"y","digest":"` +
		string(blob.Digest) + `","size":10}]}`
	pushed := reg.Push(t, "app", "1", registrytest.Raw{MediaType: ocispec.MediaTypeImageManifest, Bytes: []byte(body)})
	err := newEngine(t).copyError(t, pushed.Ref, reg.Ref("to", "1"), registry.Source, registry.ErrInvalidManifest)
	assertContains(t, err.Error(), "md5:d41d8cd98f00b204e9800998ecf8427e", "algorithm", "not supported", "sha512", string(pushed.Digest))
}

func TestCopy_ArtifactManifest(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Scripted(t, registrytest.Behaviour{}), registrytest.Scripted(t, registrytest.Behaviour{})
	blob := registrytest.Blob{Seed: "sbom", Size: 300, MediaType: "application/spdx+json"}
	body := `{"mediaType":"` + ociArtifact + `","artifactType":"application/vnd.example.sbom","blobs":[{"mediaType":"application/spdx+json","digest":"` +
		string(blob.Descriptor().Digest) + `","size":300}]}`
	pushed := from.Push(t, "app", "1", registrytest.Raw{MediaType: ociArtifact, Bytes: []byte(body), Blobs: []registrytest.Blob{blob}})
	newEngine(t).copy(t, pushed.Ref, to.Ref("app", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "app", "1"))
}

func TestCopy_AcceptHeaders(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	from.Push(t, "app", "1", registrytest.Nested("a"))
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("app", "1"))
	manifests := 0
	for _, r := range slices.Concat(from.Requests(), to.Requests()) {
		if got := r.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("%s %s has Accept-Encoding %q, want identity", r.Method, r.Path, got)
		}
		if !strings.Contains(r.Path, "/manifests/") || r.Method == http.MethodPut {
			continue
		}
		manifests++
		var accepted []string
		for _, value := range r.Header.Values("Accept") {
			for mediaType := range strings.SplitSeq(value, ",") {
				accepted = append(accepted, strings.TrimSpace(mediaType))
			}
		}
		want := []string{ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, dockerList, dockerManifest, ociArtifact, schema1Signed, schema1Plain}
		slices.Sort(accepted)
		slices.Sort(want)
		if !slices.Equal(accepted, want) {
			t.Errorf("%s %s has Accept %v, want %v", r.Method, r.Path, accepted, want)
		}
	}
	if manifests < 9 {
		t.Errorf("registries received %d requests for manifests, want at least 9", manifests)
	}
}

func TestCopy_SourceTagMovesDuringCopy(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{})), registrytest.Scripted(t, registrytest.Behaviour{})
	first := from.Push(t, "app", "1", registrytest.MultiArch("first"))
	gate := make(chan struct{})
	from.On("GET", "/v2/app/manifests/"+string(first.Digest)).Hold(gate)
	e := newEngine(t)
	done := e.start(t.Context(), e.job(t, from.Ref("app", "1"), to.Ref("app", "1")))
	from.Wait(t, func() bool { return from.Count("GET", "/v2/app/manifests/.*") == 1 })
	second := from.Push(t, "app", "1", registrytest.MultiArch("second"))
	close(gate)
	if r := await(t, done); r.err != nil || r.report.Digest != first.Digest {
		t.Fatalf("Copy() digest = %s, error = %v, want %s", r.report.Digest, r.err, first.Digest)
	}
	registrytest.Same(t, first.Tree, to.Read(t, "app", "1"))
	if n := from.Count("HEAD|GET", "/v2/app/manifests/1"); n != 1 {
		t.Errorf("source tag was requested %d times, want 1", n)
	}
	if to.HasManifest(t, "app", string(second.Digest)) {
		t.Error("destination has the later image of the tag")
	}
}
