package registrytest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestBuild_Deterministic(t *testing.T) {
	for name, c := range contents {
		if a, b := c.content.Build(), c.content.Build(); a.Digest != b.Digest || !bytes.Equal(a.Bytes, b.Bytes) {
			t.Errorf("%s: two results of Build() differ", name)
		}
	}
	for _, b := range contents["sha512_blobs"].content.Build().Blobs {
		if algorithm := b.Descriptor().Digest.Algorithm(); algorithm != digest.SHA512 {
			t.Errorf("digest algorithm of a blob = %s, want %s", algorithm, digest.SHA512)
		}
	}
	if a, b := registrytest.Layer("a", 100).Descriptor(), registrytest.Layer("b", 100).Descriptor(); a.Digest == b.Digest {
		t.Error("blobs with different seeds have the same digest")
	}
	content, err := io.ReadAll(registrytest.Layer("a", 100_000).Open())
	if err != nil || len(content) != 100_000 {
		t.Errorf("Layer() has %d bytes, %v, want 100000", len(content), err)
	}
}

func TestBlob_DigestAlgorithm(t *testing.T) {
	for _, b := range []registrytest.Blob{registrytest.Layer("a", 50), {Content: []byte("x")}} {
		content, err := io.ReadAll(b.Open())
		if err != nil {
			t.Fatal(err)
		}
		for _, algorithm := range []digest.Algorithm{digest.SHA512, digest.SHA256} {
			b.Algorithm = algorithm
			for range 2 { // the second time, the digest is cached
				if d := b.Descriptor(); d.Digest != algorithm.FromBytes(content) || d.Size != int64(len(content)) {
					t.Errorf("Descriptor() with %s = %+v", algorithm, d)
				}
			}
		}
	}
}

func TestBuild_UnusualJSON(t *testing.T) {
	for name, c := range contents {
		m := c.content.Build()
		var parsed map[string]any
		if err := json.Unmarshal(m.Bytes, &parsed); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, m.Bytes); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sorted, err := json.Marshal(parsed)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains([]digest.Digest{digest.FromBytes(compact.Bytes()), digest.FromBytes(sorted), digest.FromBytes(bytes.TrimSpace(m.Bytes))}, m.Digest) {
			t.Errorf("%s: the digest is the same after encoding again", name)
		}
		if !bytes.Contains(m.Bytes, []byte(`\/`)) {
			t.Errorf("%s: slashes are not escaped", name)
		}
	}
}

func TestSame_ReportsEveryDifference(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	full := reg.Push(t, "app", "1.0", registrytest.MultiArch("a")).Tree
	image := reg.Push(t, "app", "1.1", registrytest.Image{Seed: "b"}).Tree
	if failure := failures(t, func(t testing.TB) { registrytest.Same(t, full, reg.Read(t, "app", "1.0")) }); failure != "" {
		t.Errorf("Same() of equal trees failed: %s", failure)
	}
	failure := failures(t, func(t testing.TB) { registrytest.Same(t, full, image) })
	if missing := strings.Count(failure, "is missing"); missing != len(full.Manifests)+len(full.Blobs) || !strings.Contains(failure, "the root is") {
		t.Errorf("Same() reported %d missing, want all %d and %d:\n%s", missing, len(full.Manifests), len(full.Blobs), failure)
	}
	if extra := strings.Count(failure, "should not be"); extra != 4 {
		t.Errorf("Same() reported %d unexpected, want the image, its config and two layers:\n%s", extra, failure)
	}

	changed := reg.Read(t, "app", "1.0")
	m := changed.Manifests[changed.Root]
	changed.Manifests[changed.Root] = registrytest.ReadManifest{MediaType: "text/plain", Content: m.Content}
	if failure := failures(t, func(t testing.TB) { registrytest.Same(t, full, changed) }); !strings.Contains(failure, "is a text/plain, want application/vnd.oci.image.index") {
		t.Errorf("Same() of a changed media type = %q", failure)
	}
	changed.Manifests[changed.Root] = registrytest.ReadManifest{MediaType: m.MediaType, Content: m.Content + " "}
	for d, b := range changed.Blobs {
		changed.Blobs[d] = registrytest.ReadBlob{SHA256: b.SHA256, Size: b.Size + 1}
		break
	}
	failure = failures(t, func(t testing.TB) { registrytest.Same(t, full, changed) })
	if !strings.Contains(failure, "has other bytes") || !strings.Contains(failure, "bytes with the sha256") {
		t.Errorf("Same() of changed bytes = %q", failure)
	}
}

func TestRead_Damaged(t *testing.T) {
	p, pushed := front(t)
	reg := p.Through()
	layer := "/v2/app/blobs/" + string(pushed.Blobs[2].Descriptor().Digest)
	for name, c := range map[string]struct {
		path   string
		rule   func(*registrytest.Rule)
		expect string
	}{
		"corrupt_manifest": {"/v2/app/manifests/.*", func(r *registrytest.Rule) {
			r.Reply(200, http.Header{"Content-Type": {pushed.MediaType}, "Docker-Content-Digest": {string(pushed.Digest)}}, "{}")
		}, "not " + string(pushed.Digest)},
		"manifest_without_type": {"/v2/app/manifests/.*", func(r *registrytest.Rule) { r.Alter(func(res *http.Response) { res.Header.Set("Content-Type", "/") }) }, "mime:"},
		"missing_manifest":      {"/v2/app/manifests/.*", func(r *registrytest.Rule) { r.Reply(404, nil, "") }, "HTTP 404"},
		"corrupt_blob":          {layer, func(r *registrytest.Rule) { r.Reply(200, nil, strings.Repeat("x", 20_000)) }, "another digest"},
		"truncated_blob":        {layer, func(r *registrytest.Rule) { r.Cut(50) }, "unexpected EOF"},
		"missing_blob":          {layer, func(r *registrytest.Rule) { r.Reply(404, nil, "") }, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			c.rule(p.On("GET", c.path))
			defer p.Clear()
			if failure := failures(t, func(t testing.TB) { reg.Read(t, "app", "1.0") }); !strings.Contains(failure, c.expect) {
				t.Errorf("Read() failure = %q, want %q", failure, c.expect)
			}
		})
	}
}

func TestRegistry_TagsAndDeletion(t *testing.T) {
	everyRegistry(t, func(t *testing.T, kind string, start starter) {
		reg := start(t)
		if tags := reg.Tags(t, "app"); tags != nil {
			t.Errorf("Tags() of a missing repository = %v, want none", tags)
		}
		if d := reg.Digest(t, "app", "1.0"); d != "" {
			t.Errorf("Digest() of a missing tag = %s, want none", d)
		}
		first := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
		second := reg.Push(t, "app", "2.0", registrytest.Image{Seed: "b", Docker: true})
		reg.Retag(t, "app", "2.0", "latest")
		reg.Retag(t, "app", string(first.Digest), "stable")
		if got, want := reg.Tags(t, "app"), []string{"1.0", "2.0", "latest", "stable"}; !slices.Equal(got, want) {
			t.Errorf("Tags() = %v, want %v", got, want)
		}
		for tag, want := range map[string]digest.Digest{"1.0": first.Digest, "stable": first.Digest, "2.0": second.Digest, "latest": second.Digest, "none": ""} {
			if got := reg.Digest(t, "app", tag); got != want {
				t.Errorf("Digest(%s) = %s, want %s", tag, got, want)
			}
		}

		failure := failures(t, func(t testing.TB) { reg.DeleteTag(t, "app", "stable") })
		if can := kind != "v2"; (failure == "") != can || reg.HasManifest(t, "app", "stable") == can {
			t.Errorf("DeleteTag() failure = %q", failure)
		}
		if !reg.HasManifest(t, "app", string(first.Digest)) {
			t.Error("DeleteTag() deleted the manifest")
		}
		reg.DeleteManifest(t, "app", first.Digest)
		if reg.HasManifest(t, "app", string(first.Digest)) || reg.Digest(t, "app", "1.0") != "" {
			t.Error("DeleteManifest() did not delete the manifest")
		}
		blob := second.Blobs[1].Descriptor().Digest
		reg.DeleteBlob(t, "app", blob)
		if reg.HasBlob(t, "app", blob) {
			t.Error("DeleteBlob() did not delete the blob")
		}
		if a := reg.PutManifest(t, "app", "again", second.Manifest); a.Status != 400 || !strings.Contains(string(a.Body), "MANIFEST_BLOB_UNKNOWN") {
			t.Errorf("PutManifest() with a deleted blob = %s, want MANIFEST_BLOB_UNKNOWN", a)
		}
	})
}

func TestRead_MissingForeignLayer(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	otherServer := registrytest.Blob{
		Seed: "foreign", Size: 10, Absent: true, URLs: []string{"https://example.com/layer"},
		MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
	}
	pushed := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a", Docker: true, Layers: []registrytest.Blob{registrytest.Layer("own", 10), otherServer}})
	registrytest.Same(t, pushed.Tree, reg.Read(t, "app", "1.0"))
	if n := len(pushed.Tree.Blobs); n != 2 {
		t.Errorf("len(Blobs) = %d, want the config and one layer", n)
	}
}

func TestLeaks_Goroutine(t *testing.T) {
	if failure := failures(t, func(t testing.TB) {
		registrytest.NoLeaks(t)
		reg := registrytest.Scripted(t, registrytest.Behaviour{}, registrytest.TLS())
		registrytest.Intercept(t, reg).Through().Push(t, "app", "1.0", registrytest.MultiArch("a"))
		registrytest.V3(t)
	}); failure != "" {
		t.Errorf("NoLeaks() after registries = %s, want no leak", failure)
	}
	stop := make(chan struct{})
	failure := failures(t, func(t testing.TB) {
		registrytest.NoLeaks(t)
		go func() { <-stop }()
	})
	close(stop)
	if !strings.Contains(failure, "found unexpected goroutines") {
		t.Errorf("NoLeaks() failure = %q, want the goroutine", failure)
	}
}
