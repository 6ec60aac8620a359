package provider

import (
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func testManifest(t *testing.T, contentType, content string) registry.Manifest {
	t.Helper()
	m, err := registry.NewManifest(contentType, []byte(content), "")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newTestManifest(t *testing.T, m registry.Manifest) (manifestModel, diag.Diagnostics) {
	t.Helper()
	contents, err := m.Parse()
	if err != nil {
		t.Fatal(err)
	}
	return newManifest("ghcr.io/acme/app@"+m.Digest.String(), m, contents)
}

func TestNewManifest_AllAttributes(t *testing.T) {
	t.Parallel()
	empty := `{"mediaType":"application/vnd.oci.empty.v1+json","digest":"` + digest.FromString("{}").String() + `","size":2}`
	m := testManifest(t, ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"artifactType":"application/vnd.example","config":`+empty+`,"layers":[`+empty+`],"subject":`+empty+`,"annotations":{"a":"b"}}`)
	got, diags := newTestManifest(t, m)
	if len(diags) != 0 {
		t.Fatal(diags)
	}
	if got.ArtifactType == nil || *got.ArtifactType != "application/vnd.example" || got.Annotations["a"] != "b" || got.PinnedReference != "ghcr.io/acme/app@"+m.Digest.String() {
		t.Errorf("%+v", got)
	}
	for name, d := range map[string]*descriptorModel{"config": got.Config, "subject": got.Subject, "layers[0]": &got.Layers[0]} {
		if d == nil || d.Digest != digest.FromString("{}").String() || *d.Size != 2 || d.Annotations == nil || d.Platform != nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestNewManifest_Schema1(t *testing.T) {
	t.Parallel()
	m := testManifest(t, registry.MediaTypeSchema1, `{"schemaVersion":1,"fsLayers":[{"blobSum":"`+digest.FromString("layer").String()+`"}]}`)
	got, diags := newTestManifest(t, m)
	if len(diags) != 0 || len(got.Layers) != 1 || got.Layers[0].Size != nil {
		t.Errorf("%+v %v", got.Layers, diags)
	}
}

func TestNewManifest_NotNormalizedUTF8(t *testing.T) {
	t.Parallel()
	decomposed := testManifest(t, ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[],"annotations":{"a":"`+"e\u0301"+`"}}`)
	if _, diags := newTestManifest(t, decomposed); diags.HasError() || diags.WarningsCount() != 1 || !strings.Contains(diags[0].Detail(), "Unicode") {
		t.Errorf("text that Terraform normalizes: %v", diags)
	}
	invalid := testManifest(t, ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[],"annotations":{"a":"`+"\xff"+`"}}`)
	if _, diags := newManifest("ghcr.io/acme/app@"+invalid.Digest.String(), invalid, registry.Contents{}); !diags.HasError() || !strings.Contains(diags[0].Summary(), "Manifest Is Not Text") {
		t.Errorf("invalid UTF-8: %v", diags)
	}
}
