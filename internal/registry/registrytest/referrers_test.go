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

func TestReferrersAreListedWithTheAPIAndWithoutIt(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start func(testing.TB, ...registrytest.Option) *registrytest.Registry) {
		lists(t, start(t), []string{"1.0", registrytest.ReferrersTag(registrytest.Image{Seed: "a"}.Build().Digest)})
	})
	t.Run("scripted with the API, in pages", func(t *testing.T) {
		lists(t, registrytest.Scripted(t, registrytest.Behaviour{Referrers: true, PageSize: 1}), []string{"1.0"})
	})
}

// lists attaches to an image and expects that to be listed, beside these tags.
func lists(t *testing.T, reg *registrytest.Registry, tags []string) {
	t.Helper()
	image := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
	if listed := reg.Referrers(t, "app", image.Digest); listed != nil {
		t.Errorf("%v is listed, want nothing", listed)
	}
	var want []digest.Digest
	for _, referrer := range []registrytest.Content{
		registrytest.Artifact{Seed: "sbom", Subject: image},
		registrytest.Artifact{Seed: "type in the configuration", Subject: image, TypeInConfig: true},
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
		t.Errorf("%v are listed, want %v", listed, want)
	}
	if got := reg.Tags(t, "app"); !slices.Equal(got, tags) {
		t.Errorf("tags %v, want %v", got, tags)
	}
}

func TestScriptedPagesReferrers(t *testing.T) {
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
			t.Errorf("%s of %s, want %d entries", a, next, want)
		}
		next, _, _ = strings.Cut(strings.TrimPrefix(a.Header.Get("Link"), "<"), ">")
	}
	if next != "" {
		t.Errorf("after the last page there is %q", next)
	}
}

func TestATypeIsInTheConfigurationOrBesideIt(t *testing.T) {
	for want, artifact := range map[string]registrytest.Artifact{
		`artifactType "a/b", configuration "application/vnd.oci.empty.v1+json", 1 layers, 0 blobs`: {Type: "a/b"},
		`artifactType "", configuration "a/b", 1 layers, 0 blobs`:                                  {Type: "a/b", TypeInConfig: true},
		`artifactType "a/b", configuration "", 0 layers, 1 blobs`:                                  {Type: "a/b", Old: true},
	} {
		var says struct {
			ArtifactType  string
			Config        struct{ MediaType string }
			Layers, Blobs []any
		}
		m := artifact.Build()
		if err := json.Unmarshal(m.Bytes, &says); err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("artifactType %q, configuration %q, %d layers, %d blobs", says.ArtifactType, says.Config.MediaType, len(says.Layers), len(says.Blobs))
		if got != want || m.ArtifactType != "a/b" {
			t.Errorf("%s, and its descriptor says %q; want %s", got, m.ArtifactType, want)
		}
	}
}

func TestASignatureVerifiesByItsKeyAloneAndForItsImageAlone(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start func(testing.TB, ...registrytest.Option) *registrytest.Registry) {
		reg, key := start(t), registrytest.NewSigningKey(t)
		signed := reg.Push(t, "app", "1.0", registrytest.MultiArch("a"))
		other := reg.Push(t, "app", "2.0", registrytest.MultiArch("b"))
		says := func(k registrytest.SigningKey, image digest.Digest, want string) {
			t.Helper()
			for way, err := range map[string]error{
				"as a referrer": k.VerifyReferrer(t, reg, "app", image),
				"under its tag": k.VerifyTag(t, reg, "app", image),
			} {
				if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, want %q", way, err, want)
				}
			}
		}
		says(key, signed.Digest, "no ")

		signature := key.Sign(t, signed)
		reg.Attach(t, "app", signature.Referrer)
		reg.Push(t, "app", signature.Tag, signature.Tagged)
		says(key, signed.Digest, "")
		says(registrytest.NewSigningKey(t), signed.Digest, "not of this key")
		says(key, other.Digest, "no ")

		// What signs one image is put where what signs the other one belongs.
		moved := signature.Referrer
		moved.Subject = other
		reg.Attach(t, "app", moved)
		reg.Push(t, "app", key.Sign(t, other).Tag, signature.Tagged)
		says(key, other.Digest, "of "+string(signed.Digest))
	})
}

func TestADamagedSignatureDoesNotVerify(t *testing.T) {
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
			t.Errorf("%d %q: %v, want %q", c.status, c.body, err, c.want)
		}
	}
}
