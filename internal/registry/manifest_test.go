package registry_test

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestNewManifest(t *testing.T) {
	content := []byte("{\n \"schemaVersion\": 2,\t\"unknown\": \"\\u00e9 \" }\n")
	for _, mediaType := range append(registry.ManifestMediaTypes(), "application/vnd.acme.thing+json", "application/json") {
		for _, sum := range []struct {
			algorithm digest.Algorithm
			want      digest.Digest
		}{
			{"", digest.SHA256.FromBytes(content)},
			{digest.SHA256, digest.SHA256.FromBytes(content)},
			{digest.SHA512, digest.SHA512.FromBytes(content)},
		} {
			m, err := registry.NewManifest(mediaType+"; charset=utf-8", bytes.Clone(content), sum.algorithm)
			if err != nil {
				t.Fatal(err)
			}
			if m.MediaType != mediaType || m.Digest != sum.want || !bytes.Equal(m.Content, content) {
				t.Errorf("NewManifest(%s) = %s, %s, %q", mediaType, m.MediaType, m.Digest, m.Content)
			}
			want := registry.Descriptor{MediaType: mediaType, Digest: sum.want, Size: int64(len(content))}
			if got := m.Descriptor(); !reflect.DeepEqual(got, want) {
				t.Errorf("Descriptor() = %+v, want %+v", got, want)
			}
		}
	}
}

func TestNewManifest_InvalidContentType(t *testing.T) {
	for contentType, shown := range map[string]string{
		"":                                   `Content-Type ""`,
		"text/html":                          `"text/html"`,
		"Text/HTML; charset=UTF-8":           `"Text/HTML; charset=UTF-8"`,
		"text/plain":                         `"text/plain"`,
		"garbage":                            `"garbage"`,
		"a/b, c/d":                           `"a/b, c/d"`,
		"application/json":                   `"application/json" and nothing in it that a manifest has`,
		"\x1b[31m\n::set-output name=a::b/c": `"[31m : :set-output name=a: :b/c"`,
	} {
		_, err := registry.NewManifest(contentType, []byte("<html><body>sign in</body></html>"), "")
		assertError(t, err, registry.ErrProtocol, "cannot read the manifest", shown)
	}
}

// Any server may respond with application/json. Old registries use it for schema 1
// manifests.
func TestNewManifest_ApplicationJSON(t *testing.T) {
	for content, manifest := range map[string]bool{
		`{"schemaVersion":1,"name":"acme/app","fsLayers":[]}`: true,
		`{"name":"acme/app","fsLayers":[]}`:                   true,
		`{"x":{"y":[1]},"manifests":[]}`:                      true,
		`{"config":1}`:                                        true, // Parse returns an error for it
		`{"hello":1}`:                                         false,
		`{"status":"ok","data":{"layers":[]}}`:                false,
		`{}`:                                                  false,
		`["layers"]`:                                          false,
		`"layers"`:                                            false,
		`{"hello`:                                             false,
		``:                                                    false,
	} {
		_, err := registry.NewManifest("application/json; charset=utf-8", []byte(content), "")
		if manifest != (err == nil) {
			t.Errorf("NewManifest() of %s error = %v, want an error: %t", content, err, !manifest)
		}
		if !manifest {
			assertError(t, err, registry.ErrProtocol, "nothing in it that a manifest has")
		}
	}
}

func TestNewManifest_UnsupportedAlgorithm(t *testing.T) {
	_, err := registry.NewManifest(ociImage, []byte("{}"), "md5")
	assertError(t, err, registry.ErrInvalidReference, `"md5" is not supported`)
}

func TestManifestParse(t *testing.T) {
	configDescriptor := descriptorOf("application/vnd.oci.image.config.v1+json", "config")
	layerDescriptor := descriptorOf("application/vnd.oci.image.layer.v1.tar+gzip", "layer")
	childDescriptor := descriptorOf(ociImage, "child")
	image := fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s,%s]}`, config, layer, layer)
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[%s]}`, child)
	artifact := fmt.Sprintf(`{"artifactType":"application/vnd.acme.sbom","blobs":[%s],"subject":%s,"annotations":{"a":"1","A":"2"}}`, layer, child)
	schema1 := fmt.Sprintf(`{"schemaVersion":1,"name":"app","history":[{"v1Compatibility":"{}"}],"fsLayers":[{"blobSum":%q},{"blobSum":%q}]}`, layerDescriptor.Digest, configDescriptor.Digest)
	imageContents := registry.Contents{Config: &configDescriptor, Layers: []registry.Descriptor{layerDescriptor, layerDescriptor}}
	indexContents := registry.Contents{Manifests: []registry.Descriptor{childDescriptor}}
	artifactContents := registry.Contents{
		ArtifactType: "application/vnd.acme.sbom", Annotations: map[string]string{"a": "1", "A": "2"},
		Subject: &childDescriptor, Layers: []registry.Descriptor{layerDescriptor},
	}
	schema1Contents := registry.Contents{Layers: []registry.Descriptor{
		{Digest: layerDescriptor.Digest, Size: registry.SizeUnknown}, {Digest: configDescriptor.Digest, Size: registry.SizeUnknown},
	}}
	for _, test := range []struct {
		mediaType, content string
		want               registry.Contents
	}{
		{ociImage, image, imageContents},
		{dockerImage, image, imageContents},
		{ociIndex, index, indexContents},
		{dockerList, index, indexContents},
		{ociArtifact, artifact, artifactContents},
		{dockerSchema1, schema1, schema1Contents},
		{dockerSchema1JWS, schema1, schema1Contents},
		// For an unknown type, the fields determine the kind.
		{"application/vnd.acme.thing+json", image, imageContents},
		{"application/vnd.acme.thing+json", index, indexContents},
		{"application/vnd.acme.thing+json", artifact, artifactContents},
		{"application/vnd.acme.thing+json", schema1, schema1Contents},
		{"application/vnd.acme.thing+json", `{"hello":"world"}`, registry.Contents{}},
		// An index may have annotations, an artifact type and a subject.
		{ociIndex, fmt.Sprintf(`{"manifests":[],"artifactType":"x/y","annotations":{"k":"v"},"subject":%s}`, child),
			registry.Contents{ArtifactType: "x/y", Annotations: map[string]string{"k": "v"}, Subject: &childDescriptor}},
	} {
		m := newManifest(t, test.mediaType, test.content)
		got, err := m.Parse()
		if err != nil {
			t.Errorf("Parse() of %s as %s error = %v", test.content, test.mediaType, err)
		} else if !reflect.DeepEqual(got, test.want) {
			t.Errorf("Parse() of %s as %s = %+v\nwant %+v", test.content, test.mediaType, got, test.want)
		}
		if string(m.Content) != test.content {
			t.Errorf("Parse() changed the content to %q", m.Content)
		}
	}
}

func TestManifestParse_DescriptorFields(t *testing.T) {
	content := fmt.Sprintf(`{"manifests":[{"mediaType":%q,"digest":%q,"size":8,"artifactType":"x/y","data":"YW4gaW1hZ2U=",
		"urls":["https://a.example.com","https://b.example.com"],"annotations":{"k":"v"},"unknown":{"k":[1]},
		"platform":{"architecture":"arm","os":"windows","os.version":"10.0.1","os.features":["win32k"],"variant":"v7","unknown":1}}]}`, ociImage, sum256)
	got, err := newManifest(t, ociIndex, content).Parse()
	if err != nil {
		t.Fatal(err)
	}
	want := registry.Descriptor{
		MediaType: ociImage, Digest: sum256, Size: 8, ArtifactType: "x/y", Data: []byte("an image"),
		URLs: []string{"https://a.example.com", "https://b.example.com"}, Annotations: map[string]string{"k": "v"},
		Platform: &ocispec.Platform{Architecture: "arm", OS: "windows", OSVersion: "10.0.1", OSFeatures: []string{"win32k"}, Variant: "v7"},
	}
	if len(got.Manifests) != 1 || !reflect.DeepEqual(got.Manifests[0], want) {
		t.Errorf("Parse() manifests = %+v, want %+v", got.Manifests, want)
	}
}

func TestManifestParse_SHA512AndEmptyBlobs(t *testing.T) {
	content := fmt.Sprintf(`{"config":{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"data":"e30="},
		"layers":[{"digest":%q,"size":8},{"digest":%q,"size":0}]}`, sum512, digest.FromString(""))
	got, err := newManifest(t, ociImage, content).Parse()
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Config.Data) != "{}" || got.Layers[0].Digest != sum512 || got.Layers[1].Size != 0 {
		t.Errorf("Parse() config = %+v, layers = %+v", got.Config, got.Layers)
	}
}

func TestContentsBlobs(t *testing.T) {
	content := fmt.Sprintf(`{"config":%s,"layers":[%s],"subject":%s}`, config, layer, child)
	contents, err := newManifest(t, ociImage, content).Parse()
	if err != nil {
		t.Fatal(err)
	}
	want := []registry.Descriptor{descriptorOf("application/vnd.oci.image.config.v1+json", "config"), descriptorOf("application/vnd.oci.image.layer.v1.tar+gzip", "layer")}
	if got := contents.Blobs(); !reflect.DeepEqual(got, want) {
		t.Errorf("Blobs() = %+v, want %+v", got, want)
	}
	contents.Config = nil
	if got := contents.Blobs(); !reflect.DeepEqual(got, want[1:]) {
		t.Errorf("Blobs() without a configuration = %+v, want %+v", got, want[1:])
	}
}
