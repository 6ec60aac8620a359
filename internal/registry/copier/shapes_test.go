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

const thing = "application/vnd.example.thing+json"

// raw is a manifest with the given members, and what has to be there before it.
func raw(t *testing.T, mediaType string, members map[string]any, blobs []registrytest.Blob, manifests ...registrytest.Content) registrytest.Raw {
	t.Helper()
	body, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return registrytest.Raw{MediaType: mediaType, Bytes: body, Blobs: blobs, Manifests: manifests}
}

// descriptors are how a manifest names blobs.
func descriptors(blobs ...registrytest.Blob) []ocispec.Descriptor {
	var ds []ocispec.Descriptor
	for _, b := range blobs {
		ds = append(ds, b.Descriptor())
	}
	return ds
}

// giving is a registry that gives some manifests as a thing to everybody; the
// scripted one gives a type that nobody knows only to who asks for it.
func giving(t *testing.T, r *registrytest.Registry, references ...string) *registrytest.Proxy {
	t.Helper()
	p := registrytest.Intercept(t, r)
	p.On("GET|HEAD", "/v2/.*/manifests/("+strings.Join(references, "|")+")").Do(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Set("Accept", thing)
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
		"config and layers": raw(t, thing, map[string]any{"config": config.Descriptor(), "layers": descriptors(layer, other)}, []registrytest.Blob{config, layer, other}),
		"blobs":             raw(t, thing, map[string]any{"blobs": descriptors(layer, other)}, []registrytest.Blob{layer, other}),
		"manifests":         raw(t, thing, map[string]any{"manifests": []ocispec.Descriptor{child.Descriptor()}}, nil, child),
	} {
		t.Run(name, func(t *testing.T) {
			repo := strings.ReplaceAll(name, " ", "-")
			pushed := from.Push(t, repo, "1", content)
			e.copy(t, giving(t, from, "1", string(pushed.Digest)).Ref(repo, "1"), giving(t, to, "1").Ref(repo, "1"))
			got := to.Get(t, repo, "/v2/"+repo+"/manifests/1", http.Header{"Accept": {thing}})
			if !bytes.Equal(got.Body, pushed.Bytes) || got.Header.Get("Content-Type") != thing {
				t.Errorf("the root is now %s", got)
			}
			for d := range pushed.Tree.Blobs {
				if !to.HasBlob(t, repo, d) {
					t.Errorf("the blob %s is missing", d)
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
	child := raw(t, thing, map[string]any{"blobs": descriptors(inner)}, []registrytest.Blob{inner}).Build()
	index := raw(t, ocispec.MediaTypeImageIndex, map[string]any{
		"schemaVersion": 2, "manifests": []ocispec.Descriptor{child.Descriptor(), part.Descriptor()},
	}, []registrytest.Blob{part}, child)
	from := giving(t, registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}), string(child.Digest))
	to := registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true})
	pushed := from.Push(t, "app", "1", index)
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("app", "1"))
	if report.Copied.Blobs != 2 || report.Copied.Bytes != 900 || report.Manifests != 2 {
		t.Errorf("the report says %+v", report)
	}
	for _, blob := range []registrytest.Blob{part, inner} {
		if !to.HasBlob(t, "app", blob.Descriptor().Digest) {
			t.Errorf("the blob %s is missing", blob.Seed)
		}
	}
	if !to.HasManifest(t, "app", string(child.Digest)) || to.Digest(t, "app", "1") != pushed.Digest {
		t.Error("a manifest is missing")
	}
}

func TestCopy_MissingChild(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true}), registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true})
	gone := registrytest.Blob{Seed: "gone", Size: 700, MediaType: "application/vnd.example.part"}.Descriptor()
	from.Push(t, "app", "1", raw(t, ocispec.MediaTypeImageIndex, map[string]any{"schemaVersion": 2, "manifests": []ocispec.Descriptor{gone}}, nil))
	err := newEngine(t).refused(t, from.Ref("app", "1"), to.Ref("app", "1"), registry.Source, registry.ErrMissingContent)
	mentions(t, err.Error(), string(gone.Digest), from.Addr+"/app")
	if tags := to.Tags(t, "app"); len(tags) > 0 {
		t.Errorf("the destination has the tags %v", tags)
	}
}

func TestCopy_IndexOfLayers(t *testing.T) {
	t.Parallel()
	// What BuildKit pushes as its cache. 2.8.3 takes it, and answers 500 to who
	// asks for its layers as manifests; distribution v3 refuses it.
	v2, v3 := registrytest.V2(t), registrytest.V3(t)
	p := registrytest.Intercept(t, v2)
	layer := registrytest.Blob{Seed: "cached", Size: 5000, MediaType: ocispec.MediaTypeImageLayerGzip}
	config := registrytest.Blob{Content: []byte(`{"layers":[]}`), MediaType: "application/vnd.buildkit.cacheconfig.v0"}
	cache := raw(t, ocispec.MediaTypeImageIndex, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": descriptors(layer, config),
	}, []registrytest.Blob{layer, config})
	pushed := v2.Push(t, "cache", "1", cache)
	report := newEngine(t).copy(t, p.Ref("cache", "1"), v2.Ref("to", "1"))
	if report.Copied.Blobs != 2 || report.Retries != 0 {
		t.Errorf("the report says %+v", report)
	}
	for d := range pushed.Tree.Blobs {
		if !v2.HasBlob(t, "to", d) {
			t.Errorf("the blob %s is missing", d)
		}
	}
	if v2.Digest(t, "to", "1") != pushed.Digest {
		t.Error("the tag does not hold the index")
	}
	err := newEngine(t).refused(t, v2.Ref("cache", "1"), v3.Ref("to", "1"), registry.Destination, registry.ErrMissingContent)
	mentions(t, err.Hint, "an index of something else than manifests")
}

func TestCopy_InlineData(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{})), registrytest.Scripted(t, registrytest.Behaviour{})
	image := registrytest.Image{Seed: "a", Layers: []registrytest.Blob{{Seed: "inline", Size: 40, Inline: true}, registrytest.Layer("far", 50)}}
	pushed := from.Push(t, "app", "1", image)
	newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("app", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "app", "1"))
	inline := pushed.Blobs[1].Descriptor().Digest
	if n := from.Count(".*", "/v2/app/blobs/"+string(inline)); n != 0 {
		t.Errorf("the inline blob was asked for %d times", n)
	}
	if n := from.Count("GET", "/v2/app/blobs/.*"); n != 2 {
		t.Errorf("%d blobs were fetched, want configuration and far layer", n)
	}
}

func TestCopy_NonDistributableLayers(t *testing.T) {
	t.Parallel()
	elsewhere := registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	foreign := func(seed string, absent bool) registrytest.Blob {
		return registrytest.Blob{Seed: seed, Size: 4000, MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
			URLs: []string{"http://" + elsewhere.Addr + "/layers/" + seed}, Absent: absent}
	}
	held, absent := foreign("held", false), foreign("absent", true)
	image := registrytest.Image{Seed: "a", Docker: true, Layers: []registrytest.Blob{held, absent, registrytest.Layer("own", 500)}}
	for _, asked := range []bool{false, true} {
		t.Run(fmt.Sprintf("asked for: %t", asked), func(t *testing.T) {
			from, to := registrytest.Scripted(t, registrytest.Behaviour{}), registrytest.Scripted(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", image)
			e := newEngine(t)
			job := e.job(t, pushed.Ref, to.Ref("app", "1"))
			job.IncludeNonDistributable = asked
			report := e.do(t, job)
			if got := to.HasBlob(t, "app", held.Descriptor().Digest); got != asked {
				t.Errorf("the foreign layer that the source holds is at the destination: %t", got)
			}
			if to.HasBlob(t, "app", absent.Descriptor().Digest) {
				t.Error("a layer that the source does not hold is at the destination")
			}
			if want := map[bool]int{false: 2, true: 3}[asked]; report.Copied.Blobs != want {
				t.Errorf("the report says %+v copied, want %d blobs", report.Copied, want)
			}
			if to.Digest(t, "app", "1") != pushed.Digest {
				t.Error("the manifest is another one")
			}
			if p := e.copier.Progress(); p.Known != p.Done {
				t.Errorf("the progress is %+v, and all is done", p)
			}
		})
	}
	if n := len(elsewhere.Requests()); n != 0 {
		t.Errorf("%d requests went to where the layers say they can be had", n)
	}
}

func TestCopy_NonDistributableLayerWithoutRepository(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Scripted(t, registrytest.Behaviour{}), registrytest.Intercept(t, registrytest.Scripted(t, registrytest.Behaviour{}))
	foreign := registrytest.Blob{Seed: "a", Size: 10, MediaType: ocispec.MediaTypeImageLayerNonDistributableGzip, URLs: []string{"https://example.com/a"}} //nolint:staticcheck // what registries still hold
	image := raw(t, ocispec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2, "layers": descriptors(foreign)}, []registrytest.Blob{foreign})
	from.Push(t, "app", "1", image)
	to.On("POST", ".*").Reply(http.StatusNotFound, nil, string(registrytest.ErrorBody("NAME_UNKNOWN", "create it first")))
	e := newEngine(t)
	job := e.job(t, from.Ref("app", "1"), to.Ref("app", "1"))
	job.IncludeNonDistributable = true
	_, err := e.copier.Copy(t.Context(), job)
	mentions(t, failure(t, err, registry.Destination, registry.ErrNotFound).Error(), "create it first")
}
