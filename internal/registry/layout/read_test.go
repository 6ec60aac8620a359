package layout_test

import (
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestGetManifest_DetectsMediaType(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"media_type":   {`{"schemaVersion":2,"mediaType":"application/vnd.example+json","layers":[]}`, "application/vnd.example+json"},
		"config":       {`{"schemaVersion":2,"config":{},"layers":[]}`, ocispec.MediaTypeImageManifest},
		"manifests":    {`{"schemaVersion":2,"manifests":[]}`, ocispec.MediaTypeImageIndex},
		"unknown":      {`{"schemaVersion":2}`, ""},
		"invalid_json": {`x`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := registrytest.Layout(t, nil)
			d := digest.FromString(c.content)
			registrytest.WriteFile(t, dir, registrytest.BlobFile(d), []byte(c.content))
			m, err := open(t, dir).GetManifest(t.Context(), d.String())
			if c.want == "" {
				assertError(t, err, "neither it nor an index says what media type it has")
				return
			}
			if err != nil || m.MediaType != c.want || string(m.Content) != c.content {
				t.Errorf("GetManifest() media type = %q, %v, want %q", m.MediaType, err, c.want)
			}
		})
	}
}

// A schema 1 manifest has no mediaType field, but can still be read by its digest.
func TestGetManifest_Schema1ByDigest(t *testing.T) {
	from := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.Schema1Image{Seed: "a"})
	dir := filepath.Join(t.TempDir(), "new")
	promote(t, copier.Job{Source: repository(t, pushed.Ref), Reference: "1", Destination: create(t, dir), Tags: []string{"1"}})
	m, err := open(t, dir).GetManifest(t.Context(), pushed.Digest.String())
	if err != nil || m.MediaType != pushed.MediaType || m.Digest != pushed.Digest {
		t.Errorf("GetManifest() = %s of %q, %v, want %s of %q", m.Digest, m.MediaType, err, pushed.Digest, pushed.MediaType)
	}
}
