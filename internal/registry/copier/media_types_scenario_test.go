package copier_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// unknownType is a media type that the copier does not know.
const unknownType = "application/vnd.example.thing+json"

// rawManifest returns a manifest with the given members, and the content to push before it.
func rawManifest(t *testing.T, mediaType string, members map[string]any, blobs []registrytest.Blob, manifests ...registrytest.Content) registrytest.Raw {
	t.Helper()
	body, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return registrytest.Raw{MediaType: mediaType, Bytes: body, Blobs: blobs, Manifests: manifests}
}

// descriptors returns the descriptors of blobs.
func descriptors(blobs ...registrytest.Blob) []ocispec.Descriptor {
	var ds []ocispec.Descriptor
	for _, b := range blobs {
		ds = append(ds, b.Descriptor())
	}
	return ds
}

// serveAsUnknownType returns a proxy that serves the manifests references with the media type
// unknownType to every client. The scripted registry itself serves an unknown type only if the
// client accepts it.
func serveAsUnknownType(t *testing.T, r *registrytest.Registry, references ...string) *registrytest.Proxy {
	t.Helper()
	p := registrytest.Intercept(t, r)
	p.On("GET|HEAD", "/v2/.*/manifests/("+strings.Join(references, "|")+")").Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Set("Accept", unknownType)
		next.ServeHTTP(w, r)
	})
	return p
}

func TestCopy_UnknownRootType(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Scripted(t, registrytest.Behaviour{}), registrytest.Scripted(t, registrytest.Behaviour{})
	e := newEngine(t)
	blob := func(seed string) registrytest.Blob {
		return registrytest.Blob{Seed: seed, Size: 100, MediaType: "application/vnd.example.part"}
	}
	config, layer, other := blob("config"), blob("layer"), blob("other")
	child := registrytest.Image{Seed: "child"}.Build()
	for name, content := range map[string]registrytest.Raw{
		"config_and_layers": rawManifest(t, unknownType, map[string]any{"config": config.Descriptor(), "layers": descriptors(layer, other)}, []registrytest.Blob{config, layer, other}),
		"blobs":             rawManifest(t, unknownType, map[string]any{"blobs": descriptors(layer, other)}, []registrytest.Blob{layer, other}),
		"manifests":         rawManifest(t, unknownType, map[string]any{"manifests": []ocispec.Descriptor{child.Descriptor()}}, nil, child),
	} {
		t.Run(name, func(t *testing.T) {
			repo := name
			pushed := from.Push(t, repo, "1", content)
			e.copy(t, serveAsUnknownType(t, from, "1", string(pushed.Digest)).Ref(repo, "1"), serveAsUnknownType(t, to, "1").Ref(repo, "1"))
			got := to.Get(t, repo, "/v2/"+repo+"/manifests/1", http.Header{"Accept": {unknownType}})
			if !bytes.Equal(got.Body, pushed.Bytes) || got.Header.Get("Content-Type") != unknownType {
				t.Errorf("root manifest = %s, want the bytes and type that were pushed", got)
			}
			for d := range pushed.Tree.Blobs {
				if !to.HasBlob(t, repo, d) {
					t.Errorf("destination does not have the blob %s", d)
				}
			}
			if name == "manifests" {
				registrytest.Same(t, from.Read(t, repo, string(child.Digest)), to.Read(t, repo, string(child.Digest)))
			}
		})
	}
}

func TestCopy_UnknownChildType(t *testing.T) {
	t.Parallel()
	part := registrytest.Blob{Seed: "part", Size: 700, MediaType: "application/vnd.example.part"}
	inner := registrytest.Blob{Seed: "inner", Size: 200, MediaType: "application/vnd.example.part"}
	child := rawManifest(t, unknownType, map[string]any{"blobs": descriptors(inner)}, []registrytest.Blob{inner}).Build()
	index := rawManifest(t, ocispec.MediaTypeImageIndex, map[string]any{
		"schemaVersion": 2, "manifests": []ocispec.Descriptor{child.Descriptor(), part.Descriptor()},
	}, []registrytest.Blob{part}, child)
	from := serveAsUnknownType(t, registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}), string(child.Digest))
	to := registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true})
	pushed := from.Push(t, "app", "1", index)
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("app", "1"))
	if report.Copied.Blobs != 2 || report.Copied.Bytes != 900 || report.Manifests != 2 {
		t.Errorf("Copy() report = %+v, want 2 blobs of 900 bytes and 2 manifests", report)
	}
	for _, blob := range []registrytest.Blob{part, inner} {
		if !to.HasBlob(t, "app", blob.Descriptor().Digest) {
			t.Errorf("destination does not have the blob %s", blob.Seed)
		}
	}
	if !to.HasManifest(t, "app", string(child.Digest)) || to.Digest(t, "app", "1") != pushed.Digest {
		t.Error("destination does not have both manifests")
	}
}

func TestCopy_MissingChild(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}), registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true})
	gone := registrytest.Blob{Seed: "gone", Size: 700, MediaType: "application/vnd.example.part"}.Descriptor()
	from.Push(t, "app", "1", rawManifest(t, ocispec.MediaTypeImageIndex, map[string]any{"schemaVersion": 2, "manifests": []ocispec.Descriptor{gone}}, nil))
	err := newEngine(t).copyError(t, from.Ref("app", "1"), to.Ref("app", "1"), registry.Source, registry.ErrMissingContent)
	assertContains(t, err.Error(), string(gone.Digest), from.Addr+"/app")
	if tags := to.Tags(t, "app"); len(tags) > 0 {
		t.Errorf("destination tags = %v, want none", tags)
	}
}

func TestCopy_IndexOfLayers(t *testing.T) {
	t.Parallel()
	// BuildKit pushes its cache as an index of layers. Distribution 2.8.3 accepts it, and responds
	// with 500 to requests for its layers as manifests. Distribution v3 rejects it.
	v2, v3 := registrytest.V2(t), registrytest.V3(t)
	p := registrytest.Intercept(t, v2)
	layer := registrytest.Blob{Seed: "cached", Size: 5000, MediaType: ocispec.MediaTypeImageLayerGzip}
	config := registrytest.Blob{Content: []byte(`{"layers":[]}`), MediaType: "application/vnd.buildkit.cacheconfig.v0"}
	cache := rawManifest(t, ocispec.MediaTypeImageIndex, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": descriptors(layer, config),
	}, []registrytest.Blob{layer, config})
	pushed := v2.Push(t, "cache", "1", cache)
	report := newEngine(t).copy(t, p.Ref("cache", "1"), v2.Ref("to", "1"))
	if report.Copied.Blobs != 2 || report.Retries != 0 {
		t.Errorf("Copy() report = %+v, want 2 blobs and no retries", report)
	}
	for d := range pushed.Tree.Blobs {
		if !v2.HasBlob(t, "to", d) {
			t.Errorf("destination does not have the blob %s", d)
		}
	}
	if v2.Digest(t, "to", "1") != pushed.Digest {
		t.Errorf("tag has digest %s, want %s", v2.Digest(t, "to", "1"), pushed.Digest)
	}
	err := newEngine(t).copyError(t, v2.Ref("cache", "1"), v3.Ref("to", "1"), registry.Destination, registry.ErrMissingContent)
	assertContains(t, err.Hint, "an index of something else than manifests")
}

func TestCopy_InlineData(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{})), registrytest.Scripted(t, registrytest.Behaviour{})
	image := registrytest.Image{Seed: "a", Layers: []registrytest.Blob{{Seed: "inline", Size: 40, Inline: true}, registrytest.Layer("remote", 50)}}
	pushed := from.Push(t, "app", "1", image)
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("app", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "app", "1"))
	inline := pushed.Blobs[1].Descriptor().Digest
	if n := from.Count(".*", "/v2/app/blobs/"+string(inline)); n != 0 {
		t.Errorf("inline blob was requested %d times, want 0", n)
	}
	if n := from.Count("GET", "/v2/app/blobs/.*"); n != 2 {
		t.Errorf("source received %d GET requests for blobs, want 2 for the config and the other layer", n)
	}
}

func TestCopy_NonDistributableLayers(t *testing.T) {
	t.Parallel()
	urlHost := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	nonDistributable := func(seed string, absent bool) registrytest.Blob {
		return registrytest.Blob{Seed: seed, Size: 4000, MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
			URLs: []string{"http://" + urlHost.Addr + "/layers/" + seed}, Absent: absent}
	}
	available, absent := nonDistributable("available", false), nonDistributable("absent", true)
	image := registrytest.Image{Seed: "a", Docker: true, Layers: []registrytest.Blob{available, absent, registrytest.Layer("own", 500)}}
	for _, include := range []bool{false, true} {
		t.Run(fmt.Sprintf("include_%t", include), func(t *testing.T) {
			from, to := registrytest.Scripted(t, registrytest.Behaviour{}), registrytest.Scripted(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", image)
			e := newEngine(t)
			job := e.job(t, pushed.Ref, to.Ref("app", "1"))
			job.IncludeNonDistributable = include
			report := e.run(t, job)
			if got := to.HasBlob(t, "app", available.Descriptor().Digest); got != include {
				t.Errorf("destination has the non-distributable layer of the source: %t, want %t", got, include)
			}
			if to.HasBlob(t, "app", absent.Descriptor().Digest) {
				t.Error("destination has a layer that the source does not have")
			}
			if want := map[bool]int{false: 2, true: 3}[include]; report.Copied.Blobs != want {
				t.Errorf("Copy() copied = %+v, want %d blobs", report.Copied, want)
			}
			if to.Digest(t, "app", "1") != pushed.Digest {
				t.Errorf("tag has digest %s, want %s", to.Digest(t, "app", "1"), pushed.Digest)
			}
			if p := e.copier.Progress(); p.Known != p.Done {
				t.Errorf("Progress() = %+v after the copy, want Known equal to Done", p)
			}
		})
	}
	if n := len(urlHost.Requests()); n != 0 {
		t.Errorf("host of the layer URLs received %d requests, want 0", n)
	}
}

func TestCopy_NonDistributableLayerWithoutRepository(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Scripted(t, registrytest.Behaviour{}), registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	nonDistributable := registrytest.Blob{Seed: "a", Size: 10, MediaType: ocispec.MediaTypeImageLayerNonDistributableGzip, URLs: []string{"https://example.com/a"}} //nolint:staticcheck // deprecated, but registries still have such layers
	image := rawManifest(t, ocispec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2, "layers": descriptors(nonDistributable)}, []registrytest.Blob{nonDistributable})
	from.Push(t, "app", "1", image)
	to.On("POST", ".*").Reply(http.StatusNotFound, nil, string(registrytest.ErrorBody("NAME_UNKNOWN", "create it first")))
	e := newEngine(t)
	job := e.job(t, from.Ref("app", "1"), to.Ref("app", "1"))
	job.IncludeNonDistributable = true
	_, err := e.copier.Copy(t.Context(), job)
	assertContains(t, assertError(t, err, registry.Destination, registry.ErrNotFound).Error(), "create it first")
}
