package copier_test

import (
	"testing"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestZZ(t *testing.T) {
	for name, r := range map[string]*registrytest.Registry{"v3": registrytest.V3(t), "v2": registrytest.V2(t)} {
		p := r.Push(t, "app", "1", registrytest.Image{Seed: "a"})
		for _, b := range p.Blobs {
			d := b.Descriptor()
			t.Log(name, d.MediaType, r.Get(t, "app", "/v2/app/manifests/"+string(d.Digest), map[string][]string{"Accept": {ocispec.MediaTypeImageIndex + ", " + ocispec.MediaTypeImageManifest}}))
		}
		l := p.Blobs[1].Descriptor()
		body := `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[{"mediaType":"` + l.MediaType + `","digest":"` + string(l.Digest) + `","size":3000}]}`
		t.Log(name, r.PutManifest(t, "app", "cache", registrytest.Manifest{MediaType: ocispec.MediaTypeImageIndex, Bytes: []byte(body)}))
		body = `{"schemaVersion":2,"mediaType":"application/x.thing+json","manifests":[{"mediaType":"` + l.MediaType + `","digest":"` + string(l.Digest) + `","size":3000}]}`
		t.Log(name, r.PutManifest(t, "app", "thing", registrytest.Manifest{MediaType: "application/x.thing+json", Bytes: []byte(body)}))
		foreign := strings.ReplaceAll(string(p.Bytes), "x", "x")
		_ = foreign
		f := r.PutManifest(t, "app", "foreign", registrytest.Image{Seed: "f", Layers: []registrytest.Blob{{Seed: "z", Size: 10, Absent: true, MediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", URLs: []string{"https://example.com/x"}}}}.Build())
		t.Log(name, f)
	}
}
