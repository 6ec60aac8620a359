package registrytest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestReferrers(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start func(testing.TB, ...registrytest.Option) *registrytest.Registry) {
		testReferrers(t, start(t), []string{"1.0", registrytest.ReferrersTag(registrytest.Image{Seed: "a"}.Build().Digest)})
	})
	t.Run("scripted_pages", func(t *testing.T) {
		testReferrers(t, registrytest.Scripted(t, registrytest.Behaviour{Referrers: true, PageSize: 1}), []string{"1.0"})
	})
}

// testReferrers attaches referrers to an image and checks that they are listed and that the
// repository has exactly the given tags.
func testReferrers(t *testing.T, reg *registrytest.Registry, tags []string) {
	t.Helper()
	image := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
	if listed := reg.Referrers(t, "app", image.Digest); listed != nil {
		t.Errorf("Referrers() = %v, want none", listed)
	}
	var want []digest.Digest
	for _, referrer := range []registrytest.Content{
		registrytest.Artifact{Seed: "sbom", Subject: image},
		registrytest.Artifact{Seed: "type in config", Subject: image, TypeInConfig: true},
		registrytest.Image{Seed: "image", Subject: image},
		registrytest.Index{ArtifactType: "application/vnd.example", Subject: image, Manifests: []registrytest.Content{registrytest.Image{Seed: "child"}}},
	} {
		want = append(want, reg.Attach(t, "app", referrer).Digest)
		reg.Attach(t, "app", referrer)
	}
	listed := reg.Referrers(t, "app", image.Digest)
	slices.Sort(want)
	slices.Sort(listed)
	if !slices.Equal(listed, want) {
		t.Errorf("Referrers() = %v, want %v", listed, want)
	}
	if got := reg.Tags(t, "app"); !slices.Equal(got, tags) {
		t.Errorf("Tags() = %v, want %v", got, tags)
	}
}

func TestScripted_ReferrersPages(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{Referrers: true, PageSize: 2})
	image := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
	for _, seed := range []string{"1", "2", "3"} {
		reg.Attach(t, "app", registrytest.Artifact{Seed: seed, Subject: image})
	}
	reg.Attach(t, "app", registrytest.Artifact{Seed: "4", Subject: image, Type: "application/vnd.example.other"})
	next := "/v2/app/referrers/" + string(image.Digest) + "?artifactType=application/vnd.example.sbom"
	for _, want := range []int{2, 1} {
		a := reg.Get(t, "app", next, nil)
		var index ocispec.Index
		if err := json.Unmarshal(a.Body, &index); err != nil || len(index.Manifests) != want {
			t.Errorf("Get(%s) = %s, want %d entries", next, a, want)
		}
		next, _, _ = strings.Cut(strings.TrimPrefix(a.Header.Get("Link"), "<"), ">")
	}
	if next != "" {
		t.Errorf("Link of the last page = %q, want none", next)
	}
}

func TestArtifact_Type(t *testing.T) {
	for want, artifact := range map[string]registrytest.Artifact{
		`artifactType "a/b", config "application/vnd.oci.empty.v1+json", 1 layers, 0 blobs`: {Type: "a/b"},
		`artifactType "", config "a/b", 1 layers, 0 blobs`:                                  {Type: "a/b", TypeInConfig: true},
		`artifactType "a/b", config "", 0 layers, 1 blobs`:                                  {Type: "a/b", Old: true},
	} {
		var manifest struct {
			ArtifactType  string
			Config        struct{ MediaType string }
			Layers, Blobs []any
		}
		m := artifact.Build()
		if err := json.Unmarshal(m.Bytes, &manifest); err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("artifactType %q, config %q, %d layers, %d blobs", manifest.ArtifactType, manifest.Config.MediaType, len(manifest.Layers), len(manifest.Blobs))
		if got != want || m.ArtifactType != "a/b" {
			t.Errorf("Build() = %s with descriptor type %q, want %s", got, m.ArtifactType, want)
		}
	}
}

func TestSigningKey_Verify(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start func(testing.TB, ...registrytest.Option) *registrytest.Registry) {
		reg, key := start(t), registrytest.NewSigningKey(t)
		signed := reg.Push(t, "app", "1.0", registrytest.MultiArch("a"))
		other := reg.Push(t, "app", "2.0", registrytest.MultiArch("b"))
		checkVerify := func(k registrytest.SigningKey, image digest.Digest, want string) {
			t.Helper()
			for form, err := range map[string]error{
				"referrer": k.VerifyReferrer(t, reg, "app", image),
				"tag":      k.VerifyTag(t, reg, "app", image),
			} {
				if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("%s: verify = %v, want %q", form, err, want)
				}
			}
		}
		checkVerify(key, signed.Digest, "no ")

		signature := key.Sign(t, signed)
		reg.Attach(t, "app", signature.Referrer)
		reg.Push(t, "app", signature.Tag, signature.Tagged)
		checkVerify(key, signed.Digest, "")
		checkVerify(registrytest.NewSigningKey(t), signed.Digest, "not of this key")
		checkVerify(key, other.Digest, "no ")

		// The signature of one image is published for the other image.
		moved := signature.Referrer
		moved.Subject = other
		reg.Attach(t, "app", moved)
		reg.Push(t, "app", key.Sign(t, other).Tag, signature.Tagged)
		checkVerify(key, other.Digest, "of "+string(signed.Digest))
	})
}

func TestSigningKey_DamagedSignature(t *testing.T) {
	p, key := registrytest.Front(t, registrytest.Behaviour{Referrers: true}), registrytest.NewSigningKey(t)
	image := p.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
	signature := key.Sign(t, image)
	p.Push(t, "app", signature.Tag, signature.Tagged)
	payload := signature.Tagged.Layers[0]
	blob := p.On("GET", "/v2/app/blobs/"+string(payload.Descriptor().Digest))
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{http.StatusOK, string(payload.Content), ""},
		{http.StatusOK, string(payload.Content) + " ", "not of this key and payload"},
		{http.StatusNotFound, "", "HTTP 404"},
	} {
		blob.Reply(c.status, nil, c.body)
		err := key.VerifyTag(t, p.Through(), "app", image.Digest)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("VerifyTag() of %d %q = %v, want %q", c.status, c.body, err, c.want)
		}
	}
}
