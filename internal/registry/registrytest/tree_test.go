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

func TestSameBytesEachTime(t *testing.T) {
	for name, c := range contents {
		if a, b := c.content.Build(), c.content.Build(); a.Digest != b.Digest || !bytes.Equal(a.Bytes, b.Bytes) {
			t.Errorf("%s: built twice, it differs", name)
		}
	}
	for _, b := range contents["sha512 blobs"].content.Build().Blobs {
		if algorithm := b.Descriptor().Digest.Algorithm(); algorithm != digest.SHA512 {
			t.Errorf("a blob is named by %s, want %s", algorithm, digest.SHA512)
		}
	}
	if a, b := registrytest.Layer("a", 100).Descriptor(), registrytest.Layer("b", 100).Descriptor(); a.Digest == b.Digest {
		t.Error("two seeds give one blob")
	}
	content, err := io.ReadAll(registrytest.Layer("a", 100_000).Open())
	if err != nil || len(content) != 100_000 {
		t.Errorf("%d bytes, %v", len(content), err)
	}
}

func TestADigestIsOfItsAlgorithm(t *testing.T) {
	for _, b := range []registrytest.Blob{registrytest.Layer("a", 50), {Content: []byte("x")}} {
		content, err := io.ReadAll(b.Open())
		if err != nil {
			t.Fatal(err)
		}
		for _, algorithm := range []digest.Algorithm{digest.SHA512, digest.SHA256} {
			b.Algorithm = algorithm
			for range 2 { // the second time it is remembered
				if d := b.Descriptor(); d.Digest != algorithm.FromBytes(content) || d.Size != int64(len(content)) {
					t.Errorf("%s: %+v", algorithm, d)
				}
			}
		}
	}
}

func TestSerialisedAgainItIsAnother(t *testing.T) {
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
			t.Errorf("%s: serialised again it has the same digest", name)
		}
		if !bytes.Contains(m.Bytes, []byte(`\/`)) {
			t.Errorf("%s: its strings are written as everybody writes them", name)
		}
	}
}

func TestSameNamesEveryDifference(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	full := reg.Push(t, "app", "1.0", registrytest.MultiArch("a")).Tree
	image := reg.Push(t, "app", "1.1", registrytest.Image{Seed: "b"}).Tree
	if said := failures(t, func(t testing.TB) { registrytest.Same(t, full, reg.Read(t, "app", "1.0")) }); said != "" {
		t.Errorf("same trees differ: %s", said)
	}
	said := failures(t, func(t testing.TB) { registrytest.Same(t, full, image) })
	if missing := strings.Count(said, "is missing"); missing != len(full.Manifests)+len(full.Blobs) || !strings.Contains(said, "the root is") {
		t.Errorf("%d missing, want all %d and %d:\n%s", missing, len(full.Manifests), len(full.Blobs), said)
	}
	if extra := strings.Count(said, "should not be"); extra != 4 {
		t.Errorf("%d too many, want the image, its configuration and two layers:\n%s", extra, said)
	}

	changed := reg.Read(t, "app", "1.0")
	m := changed.Manifests[changed.Root]
	changed.Manifests[changed.Root] = registrytest.ReadManifest{MediaType: "text/plain", Content: m.Content}
	if said := failures(t, func(t testing.TB) { registrytest.Same(t, full, changed) }); !strings.Contains(said, "is a text/plain, want application/vnd.oci.image.index") {
		t.Errorf("a changed media type: %q", said)
	}
	changed.Manifests[changed.Root] = registrytest.ReadManifest{MediaType: m.MediaType, Content: m.Content + " "}
	for d, b := range changed.Blobs {
		changed.Blobs[d] = registrytest.ReadBlob{SHA256: b.SHA256, Size: b.Size + 1}
		break
	}
	said = failures(t, func(t testing.TB) { registrytest.Same(t, full, changed) })
	if !strings.Contains(said, "has other bytes") || !strings.Contains(said, "bytes with the sha256") {
		t.Errorf("changed bytes: %q", said)
	}
}

func TestReadNoticesDamage(t *testing.T) {
	p, pushed := front(t)
	reg := p.Through()
	layer := "/v2/app/blobs/" + string(pushed.Blobs[2].Descriptor().Digest)
	for name, c := range map[string]struct {
		path   string
		rule   func(*registrytest.Rule)
		expect string
	}{
		"a manifest with other bytes": {"/v2/app/manifests/.*", func(r *registrytest.Rule) {
			r.Reply(200, http.Header{"Content-Type": {pushed.MediaType}, "Docker-Content-Digest": {string(pushed.Digest)}}, "{}")
		}, "not " + string(pushed.Digest)},
		"a manifest of no type":   {"/v2/app/manifests/.*", func(r *registrytest.Rule) { r.Alter(func(res *http.Response) { res.Header.Set("Content-Type", "/") }) }, "mime:"},
		"a manifest that is gone": {"/v2/app/manifests/.*", func(r *registrytest.Rule) { r.Reply(404, nil, "") }, "HTTP 404"},
		"a blob with other bytes": {layer, func(r *registrytest.Rule) { r.Reply(200, nil, strings.Repeat("x", 20_000)) }, "another digest"},
		"a blob that is cut":      {layer, func(r *registrytest.Rule) { r.Cut(50) }, "unexpected EOF"},
		"a blob that is gone":     {layer, func(r *registrytest.Rule) { r.Reply(404, nil, "") }, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			c.rule(p.On("GET", c.path))
			defer p.Clear()
			if said := failures(t, func(t testing.TB) { reg.Read(t, "app", "1.0") }); !strings.Contains(said, c.expect) {
				t.Errorf("said %q, want %q", said, c.expect)
			}
		})
	}
}

func TestTagsAndDeletion(t *testing.T) {
	everyRegistry(t, func(t *testing.T, kind string, start starter) {
		reg := start(t)
		if tags := reg.Tags(t, "app"); tags != nil {
			t.Errorf("a repository that is not there has the tags %v", tags)
		}
		if d := reg.Digest(t, "app", "1.0"); d != "" {
			t.Errorf("a tag that is not there names %s", d)
		}
		first := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
		second := reg.Push(t, "app", "2.0", registrytest.Image{Seed: "b", Docker: true})
		reg.Retag(t, "app", "2.0", "latest")
		reg.Retag(t, "app", string(first.Digest), "stable")
		if got, want := reg.Tags(t, "app"), []string{"1.0", "2.0", "latest", "stable"}; !slices.Equal(got, want) {
			t.Errorf("tags %v, want %v", got, want)
		}
		for tag, want := range map[string]digest.Digest{"1.0": first.Digest, "stable": first.Digest, "2.0": second.Digest, "latest": second.Digest, "none": ""} {
			if got := reg.Digest(t, "app", tag); got != want {
				t.Errorf("%s names %s, want %s", tag, got, want)
			}
		}

		said := failures(t, func(t testing.TB) { reg.DeleteTag(t, "app", "stable") })
		if can := kind != "v2"; (said == "") != can || reg.HasManifest(t, "app", "stable") == can {
			t.Errorf("deleting a tag said %q", said)
		}
		if !reg.HasManifest(t, "app", string(first.Digest)) {
			t.Error("the manifest went with its tag")
		}
		reg.DeleteManifest(t, "app", first.Digest)
		if reg.HasManifest(t, "app", string(first.Digest)) || reg.Digest(t, "app", "1.0") != "" {
			t.Error("the manifest is still there")
		}
		blob := second.Blobs[1].Descriptor().Digest
		reg.DeleteBlob(t, "app", blob)
		if reg.HasBlob(t, "app", blob) {
			t.Error("the blob is still there")
		}
		if a := reg.PutManifest(t, "app", "again", second.Manifest); a.Status != 400 || !strings.Contains(string(a.Body), "MANIFEST_BLOB_UNKNOWN") {
			t.Errorf("putting a manifest whose blob is gone: %s", a)
		}
	})
}

func TestForeignLayersMayBeMissing(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	foreign := registrytest.Blob{
		Seed: "foreign", Size: 10, Absent: true, URLs: []string{"https://example.com/layer"},
		MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
	}
	pushed := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a", Docker: true, Layers: []registrytest.Blob{registrytest.Layer("own", 10), foreign}})
	registrytest.Same(t, pushed.Tree, reg.Read(t, "app", "1.0"))
	if n := len(pushed.Tree.Blobs); n != 2 {
		t.Errorf("%d blobs, want the configuration and one layer", n)
	}
}

func TestNoLeaksNoticesAGoroutine(t *testing.T) {
	if said := failures(t, func(t testing.TB) {
		registrytest.NoLeaks(t)
		reg := registrytest.Scripted(t, registrytest.Behaviour{}, registrytest.TLS())
		registrytest.Intercept(t, reg).Through().Push(t, "app", "1.0", registrytest.MultiArch("a"))
		registrytest.V3(t)
	}); said != "" {
		t.Errorf("registries leave something behind: %s", said)
	}
	stop := make(chan struct{})
	said := failures(t, func(t testing.TB) {
		registrytest.NoLeaks(t)
		go func() { <-stop }()
	})
	close(stop)
	if !strings.Contains(said, "found unexpected goroutines") {
		t.Errorf("said %q", said)
	}
}
