package registrytest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func scriptedProxy(t *testing.T, b registrytest.Behaviour) *registrytest.Proxy {
	t.Helper()
	return registrytest.Intercept(t, registrytest.Scripted(t, b))
}

func TestScripted_AcceptsUnusualContent(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	for name, content := range map[string]registrytest.Content{
		"sha512_image":    registrytest.Image{Seed: "a", Algorithm: digest.SHA512, BlobAlgorithm: digest.SHA512},
		"sha512_children": registrytest.Index{Algorithm: digest.SHA512, Manifests: []registrytest.Content{registrytest.Image{Seed: "a", Algorithm: digest.SHA512}}},
		"oci_artifact":    registrytest.Artifact{Seed: "a", Old: true, Subject: registrytest.Image{Seed: "a"}},
		"schema_1":        registrytest.Schema1Image{Seed: "a"},
		"unknown_type":    registrytest.Raw{MediaType: "application/vnd.example+json", Bytes: []byte(`{ "layers":[] }`)},
	} {
		t.Run(name, func(t *testing.T) {
			pushed := reg.Push(t, "app", "", content)
			registrytest.Same(t, pushed.Tree, reg.Read(t, "app", string(pushed.Digest)))
			if pushed.Ref != pushed.Pinned {
				t.Errorf("Ref without a tag = %s, want %s", pushed.Ref, pushed.Pinned)
			}
		})
	}
}

func TestScripted_ValidatesManifests(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	image := registrytest.Image{Seed: "a"}.Build()
	index := registrytest.Index{Manifests: []registrytest.Content{image}}.Build()
	other := registrytest.Image{Seed: "b"}.Build()
	for name, c := range map[string]struct {
		reference string
		manifest  registrytest.Manifest
		code      string
	}{
		"missing_blobs":  {"1.0", image, "MANIFEST_BLOB_UNKNOWN"},
		"missing_child":  {"1.0", index, "MANIFEST_BLOB_UNKNOWN"},
		"other_digest":   {string(other.Digest), image, "DIGEST_INVALID"},
		"invalid_digest": {"sha256:zz", image, "DIGEST_INVALID"},
		"not_json":       {"1.0", registrytest.Manifest{MediaType: image.MediaType, Bytes: []byte("<html>")}, "MANIFEST_INVALID"},
		"no_media_type":  {"1.0", registrytest.Manifest{Bytes: image.Bytes}, "MANIFEST_INVALID"},
	} {
		if a := reg.PutManifest(t, "app", c.reference, c.manifest); a.Status != 400 || !strings.Contains(string(a.Body), c.code) {
			t.Errorf("%s: PutManifest() = %s, want HTTP 400 with %s", name, a, c.code)
		}
	}
	loose := registrytest.Scripted(t, registrytest.Behaviour{Unchecked: true})
	if a := loose.PutManifest(t, "app", "1.0", index); a.Status != 201 {
		t.Errorf("PutManifest() with Unchecked = %s, want HTTP 201", a)
	}
}

func TestScripted_RequiresAcceptHeader(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1.0", registrytest.MultiArch("a"))
	for accept, want := range map[string]int{"": 404, ocispec.MediaTypeImageManifest: 404, pushed.MediaType: 200, "*/*": 200} {
		if a := reg.Get(t, "app", "/v2/app/manifests/1.0", http.Header{"Accept": {accept}}); a.Status != want {
			t.Errorf("Get() with Accept %q = %s, want %d", accept, a, want)
		}
	}
}

func TestScripted_Mount(t *testing.T) {
	for name, c := range map[string]struct {
		behaviour             registrytest.Behaviour
		present, absent, same int
	}{
		"truthful": {registrytest.Behaviour{}, 201, 202, 201},
		"blind":    {registrytest.Behaviour{BlindMount: true}, 202, 202, 202},
		"refusing": {registrytest.Behaviour{RefuseMount: 405}, 405, 405, 405},
	} {
		t.Run(name, func(t *testing.T) {
			p := scriptedProxy(t, c.behaviour)
			blob := registrytest.Layer("a", 100)
			d := blob.Descriptor().Digest
			p.PushBlob(t, "from", blob)
			for from, want := range map[string]int{"from": c.present, "nowhere": c.absent} {
				res, _, err := fetch(t, p, "POST", fmt.Sprintf("/v2/to-%s/blobs/uploads/?mount=%s&from=%s", from, d, from), "")
				if err != nil || res.StatusCode != want {
					t.Errorf("mount from %s = %v, %v, want %d", from, res, err, want)
				}
				if got := p.HasBlob(t, "to-"+from, d); got != (want == 201) {
					t.Errorf("HasBlob() after the mount from %s = %t", from, got)
				}
			}
			res, _, err := fetch(t, p, "POST", fmt.Sprintf("/v2/from/blobs/uploads/?mount=%s&from=from", d), "")
			if err != nil || res.StatusCode != c.same {
				t.Errorf("mount from the same repository = %v, %v, want %d", res, err, c.same)
			}
		})
	}
}

func TestScripted_Uploads(t *testing.T) {
	p := scriptedProxy(t, registrytest.Behaviour{MinChunk: 3})
	d := digest.FromString("abcdefgh")
	open := func() string {
		res, _, err := fetch(t, p, "POST", "/v2/app/blobs/uploads/", "")
		if err != nil || res.StatusCode != 202 || res.Header.Get("OCI-Chunk-Min-Length") != "3" {
			t.Fatalf("%v, %v", res, err)
		}
		return res.Header.Get("Location")
	}
	step := func(method, location, chunk, at string, status int, offset string) {
		t.Helper()
		a := p.Do(t, method, "app", location, http.Header{"Content-Range": {at}}, chunk)
		if a.Status != status || a.Header.Get("Range") != offset {
			t.Errorf("%s %q at %q: %s, Range %q, want %d, %q", method, chunk, at, a, a.Header.Get("Range"), status, offset)
		}
	}
	location := open()
	step("PATCH", location, "abcd", "0-3", 202, "0-3")
	step("PATCH", location, "abcd", "0-3", 416, "0-3")
	step("PATCH", location, "ef", "4-5", 400, "")
	step("GET", location, "", "", 204, "0-3")
	step("PUT", location+"&digest="+string(d), "efgh", "4-7", 201, "")
	step("GET", location, "", "", 404, "")
	if !p.HasBlob(t, "app", d) {
		t.Error("HasBlob() = false after a chunked upload")
	}
	location = open()
	step("PUT", location+"&digest="+string(d), "something else", "", 400, "")
	location = open()
	step("DELETE", location, "", "", 204, "")
	step("PATCH", location, "abcd", "", 404, "")
	step("POST", "/v2/other/blobs/uploads/?digest="+string(d), "abcdefgh", "", 201, "")
	if !p.HasBlob(t, "other", d) {
		t.Error("HasBlob() = false after a monolithic upload")
	}
}

func TestScripted_Blobs(t *testing.T) {
	p := scriptedProxy(t, registrytest.Behaviour{})
	d := digest.FromString("abcdefgh")
	p.PushBlob(t, "app", registrytest.Blob{Content: []byte("abcdefgh")})
	path := "/v2/app/blobs/" + string(d)
	a := p.Get(t, "app", path, http.Header{"Range": {"bytes=3-5"}})
	if a.Status != 206 || string(a.Body) != "def" || a.Header.Get("Content-Range") != "bytes 3-5/8" || a.Header.Get("Docker-Content-Digest") != string(d) {
		t.Errorf("Get() of a range = %s, %v", a, a.Header)
	}
	for path, want := range map[string]int{"/v2/other/blobs/" + string(d): 404, "/v2/app/blobs/sha256:zz": 400, "/v3/": 404, "/v2/app/what/x": 404, "/v2/": 200} {
		if a := p.Get(t, "app", path, nil); a.Status != want {
			t.Errorf("Get(%s) = %s, want %d", path, a, want)
		}
	}
}

func TestScripted_Behaviour(t *testing.T) {
	t.Run("immutable_tags", func(t *testing.T) {
		reg := registrytest.Scripted(t, registrytest.Behaviour{ImmutableTags: true})
		pushed := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
		if a := reg.PutManifest(t, "app", "1.0", pushed.Manifest); a.Status != 409 || !strings.Contains(string(a.Body), "TAG_INVALID") {
			t.Errorf("PutManifest() = %s, want HTTP 409 with TAG_INVALID", a)
		}
		reg.Push(t, "app", "2.0", pushed.Manifest)
	})
	t.Run("no_digest_header", func(t *testing.T) {
		reg := registrytest.Scripted(t, registrytest.Behaviour{NoDigestHeader: true})
		pushed := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
		registrytest.Same(t, pushed.Tree, reg.Read(t, "app", "1.0"))
		if a := reg.Get(t, "app", "/v2/app/manifests/1.0", http.Header{"Accept": {"*/*"}}); a.Header.Get("Docker-Content-Digest") != "" {
			t.Errorf("header = %v, want no digest", a.Header)
		}
	})
	t.Run("no_head", func(t *testing.T) {
		p := scriptedProxy(t, registrytest.Behaviour{RefuseHead: 403})
		p.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
		if got := statuses(t, p, 1, "HEAD", "/v2/app/manifests/1.0"); !equal(got, 403) {
			t.Errorf("statuses = %v, want 403", got)
		}
	})
	t.Run("redirected_blobs", func(t *testing.T) {
		p := scriptedProxy(t, registrytest.Behaviour{BlobsElsewhere: "https://cdn.example.com/?blob="})
		pushed := p.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
		d := pushed.Blobs[0].Descriptor().Digest
		res, _, err := fetch(t, p, "GET", "/v2/app/blobs/"+string(d), "")
		if err != nil || res.StatusCode != 307 || res.Header.Get("Location") != "https://cdn.example.com/?blob="+string(d) {
			t.Errorf("response = %v, %v, want a redirect", res, err)
		}
	})
}

func TestScripted_TagPages(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{PageSize: 2})
	for _, tag := range []string{"c", "a", "b"} {
		reg.Push(t, "app", tag, registrytest.Image{Seed: "a"})
	}
	first := reg.Get(t, "app", "/v2/app/tags/list", nil)
	if want := `</v2/app/tags/list?last=b&n=2>; rel="next"`; first.Header.Get("Link") != want || !strings.Contains(string(first.Body), `["a","b"]`) {
		t.Errorf("first page = %s, Link %q, want %q", first, first.Header.Get("Link"), want)
	}
	last := reg.Get(t, "app", "/v2/app/tags/list?last=b&n=2", nil)
	if last.Header.Get("Link") != "" || !strings.Contains(string(last.Body), `["c"]`) {
		t.Errorf("last page = %s, Link %q", last, last.Header.Get("Link"))
	}
}

func TestScripted_Referrers(t *testing.T) {
	without := registrytest.Scripted(t, registrytest.Behaviour{})
	reg := registrytest.Scripted(t, registrytest.Behaviour{Referrers: true})
	image := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
	path := "/v2/app/referrers/" + string(image.Digest)
	if a := without.Get(t, "app", path, nil); a.Status != 404 {
		t.Errorf("Get() without the API = %s, want HTTP 404", a)
	}
	signature := reg.Push(t, "app", "", registrytest.Artifact{Seed: "signature", Type: "application/vnd.example.signature", Subject: image.Manifest})
	sbom := reg.Push(t, "app", "", registrytest.Artifact{Seed: "sbom", Type: "application/vnd.example.sbom", Subject: image.Manifest})
	for query, want := range map[string][]digest.Digest{"": {signature.Digest, sbom.Digest}, "?artifactType=application/vnd.example.sbom": {sbom.Digest}} {
		var index ocispec.Index
		a := reg.Get(t, "app", path+query, nil)
		if err := json.Unmarshal(a.Body, &index); err != nil || a.Header.Get("Content-Type") != ocispec.MediaTypeImageIndex {
			t.Fatalf("%s, %v", a, err)
		}
		got := map[digest.Digest]string{}
		for _, d := range index.Manifests {
			got[d.Digest] = d.ArtifactType
		}
		if len(got) != len(want) || got[want[len(want)-1]] != "application/vnd.example.sbom" {
			t.Errorf("referrers with query %q = %v, want %v", query, got, want)
		}
	}
}
