package layout_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestResolve_References(t *testing.T) {
	one, two := registrytest.Image{Seed: "one"}, registrytest.Image{Seed: "two"}
	d := string(two.Build().Digest)
	for name, c := range map[string]struct {
		tagged    map[string]registrytest.Content
		reference string
		want      digest.Digest // "" for an error
		wantText  string
	}{
		"only_manifest":         {map[string]registrytest.Content{"x": one}, "", one.Build().Digest, ""},
		"unnamed":               {map[string]registrytest.Content{"": one}, "", one.Build().Digest, ""},
		"tag":                   {map[string]registrytest.Content{"1": one, "2": two}, "2", two.Build().Digest, ""},
		"digest":                {map[string]registrytest.Content{"1": one, "2": two}, d, two.Build().Digest, ""},
		"tag_of_full_name":      {map[string]registrytest.Content{"localhost/app:1": one, "localhost/app:2": two}, "2", two.Build().Digest, ""},
		"tag_before_full_name":  {map[string]registrytest.Content{"1": one, "localhost/app:1": two}, "1", one.Build().Digest, ""},
		"ambiguous_manifest":    {map[string]registrytest.Content{"1": one, "2": two}, "", "", `holds 2 manifests of that name: `},
		"ambiguous_tag":         {map[string]registrytest.Content{"a:1": one, "b:1": two}, "1", "", `"b:1"`},
		"missing_tag":           {map[string]registrytest.Content{"1": one}, "3", "", `the layout holds "1" (sha256:`},
		"empty_layout":          {nil, "1", "", "the layout holds nothing"},
		"missing_digest":        {map[string]registrytest.Content{"1": one}, d, "", "the layout does not hold it"},
		"one_manifest_two_tags": {map[string]registrytest.Content{"1": one, "2": one}, "", one.Build().Digest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, registrytest.Layout(t, c.tagged))
			found, err := l.Resolve(t.Context(), c.reference)
			if c.want == "" {
				assertError(t, err, c.wantText, l.Name())
				if _, err := l.GetManifest(t.Context(), c.reference); err == nil {
					t.Error("GetManifest() succeeded")
				}
				return
			}
			if err != nil || found.Digest != c.want {
				t.Errorf("Resolve() = %s, %v, want %s", found.Digest, err, c.want)
			}
			if m, err := l.GetManifest(t.Context(), c.reference); err != nil || m.Digest != c.want || m.MediaType != ocispec.MediaTypeImageManifest {
				t.Errorf("GetManifest() = %s of %q, %v", m.Digest, m.MediaType, err)
			}
		})
	}
}

func TestResolve_TagWithoutManifest(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image})
	remove(t, filepath.Join(dir, registrytest.BlobFile(image.Build().Digest)))
	if _, err := create(t, dir).Resolve(t.Context(), "1"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("Resolve() = %v, want ErrNotFound", err)
	}
}
