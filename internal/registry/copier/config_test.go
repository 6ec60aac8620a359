package copier_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// readImageConfig reads the config of the image with the tag "1" in the repository "app".
func readImageConfig(t *testing.T, from *registrytest.Proxy) (registry.ImageConfig, error) {
	t.Helper()
	repo := newEngine(t).client.Repository(parse(t, from.Ref("app", "1")), remote.Pull)
	m, err := repo.GetManifest(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	return copier.ImageConfig(t.Context(), repo, m)
}

func TestImageConfig(t *testing.T) {
	t.Parallel()
	for _, docker := range []bool{false, true} {
		from, _ := pair(t, registrytest.Behaviour{})
		pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a", Docker: docker, Platform: "linux/arm/v7"})
		got, err := readImageConfig(t, from)
		want := pushed.Blobs[0]
		if err != nil || got.Descriptor.Digest != want.Descriptor().Digest || !bytes.Equal(got.Content, want.Content) ||
			registry.FormatPlatform(got.Platform) != "linux/arm/v7" || got.Config.Labels["seed"] != "a" {
			t.Errorf("ImageConfig() with docker %t = %+v, %v", docker, got, err)
		}
	}
}

func TestImageConfig_Invalid(t *testing.T) {
	t.Parallel()
	config := registrytest.Blob{Content: []byte(`{"os":"linux"}`), MediaType: "application/vnd.oci.image.config.v1+json"}
	declared := config.Descriptor()
	declared.Size = 5 << 20
	tooLarge, err := json.Marshal(map[string]any{"schemaVersion": 2, "config": declared, "layers": []any{}})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content  registrytest.Content
		kind     error
		wantText string
	}{
		"index":                   {registrytest.MultiArch("a"), registry.ErrInvalidReference, "it is an index, in which each platform has a configuration of its own. It has linux/amd64, linux/arm64/v8"},
		"index_without_platforms": {registrytest.Index{}, registry.ErrInvalidReference, "It has no platforms"},
		"artifact":                {registrytest.Artifact{Seed: "a"}, registry.ErrInvalidReference, `it is of the type "application/vnd.oci.empty.v1+json", and not an image's`},
		"no_config": {registrytest.Raw{MediaType: registry.MediaTypeOCIArtifact, Bytes: []byte(`{"artifactType":"application/vnd.example","blobs":[]}`)},
			registry.ErrInvalidReference, "it has none"},
		"too_large": {registrytest.Raw{MediaType: "application/vnd.oci.image.manifest.v1+json", Bytes: tooLarge, Blobs: []registrytest.Blob{config}},
			registry.ErrLimit, "it has 5242880 bytes, too many"},
		"ambiguous_key": {registrytest.Image{Config: []byte(`{"os":"linux","OS":"windows"}`)}, registry.ErrInvalidManifest, `the key "OS", which some clients take for "os"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, _ := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "1", c.content)
			from.Forget()
			_, err := readImageConfig(t, from)
			assertContains(t, assertError(t, err, "", c.kind).Error(), "read the configuration", c.wantText, from.Addr+"/app")
			if read := from.Count("GET", ".*/blobs/.*"); read > 0 && !errors.Is(err, registry.ErrInvalidManifest) {
				t.Errorf("ImageConfig() read %d blobs, want 0", read)
			}
		})
	}
}

func TestImageConfig_DigestMismatch(t *testing.T) {
	t.Parallel()
	from, _ := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	size := len(pushed.Blobs[0].Content)
	from.On("GET", ".*/blobs/.*").Reply(200, nil, `{"os":"plan9"}`+string(make([]byte, size-14)))
	_, err := readImageConfig(t, from)
	assertError(t, err, "", registry.ErrMismatch)
}
