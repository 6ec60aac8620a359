package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	inTotoLayer    = "application/vnd.in-toto+json"
)

// image is the content of an image.
type image struct {
	blobs     [][]byte
	manifests []manifest // children before parents; the root is last
}

func (i *image) root() manifest { return i.manifests[len(i.manifests)-1] }

func (i *image) children() []manifest { return i.manifests[:len(i.manifests)-1] }

// manifest is the content of a manifest and its media type.
type manifest struct {
	name      string // description of its role in the image
	mediaType string
	content   []byte
}

func (m manifest) digest() string { return digestOf(m.content) }

func (m manifest) same(other manifest) bool {
	return m.mediaType == other.mediaType && bytes.Equal(m.content, other.content)
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// appImage returns an image for two platforms with an attestation, as BuildKit pushes it. The
// content depends on build.
func appImage(build string) image {
	var i image
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, architecture := range []string{"amd64", "arm64"} {
		platform := ocispec.Platform{OS: "linux", Architecture: architecture}
		child := i.addImage(platform, build, ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, ocispec.MediaTypeImageLayerGzip)
		child.Platform = &platform
		index.Manifests = append(index.Manifests, child)
	}
	index.Manifests = append(index.Manifests, i.addAttestation(index.Manifests[0].Digest))
	i.addManifest("the index", index.MediaType, index)
	return i
}

// legacyImage returns an image in the format that Docker pushed before the OCI specifications.
func legacyImage() image {
	var i image
	i.addImage(ocispec.Platform{OS: "linux", Architecture: "amd64"}, "legacy", dockerManifest, dockerConfig, dockerLayer)
	return i
}

// addImage adds an image for one platform: a layer with one file, the config, and the manifest.
// It returns the descriptor of the manifest.
func (i *image) addImage(platform ocispec.Platform, build, manifestType, configType, layerType string) ocispec.Descriptor {
	files := layer("etc/build", build+" for "+platform.Architecture+"\n")
	config := encode(ocispec.Image{
		Platform: platform,
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(files)}},
	})
	return i.addManifest(platform.OS+"/"+platform.Architecture, manifestType, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: manifestType,
		Config:    i.addBlob(configType, config),
		Layers:    []ocispec.Descriptor{i.addBlob(layerType, compress(files))},
	})
}

// addAttestation adds a statement about the manifest subject, in the format of BuildKit.
func (i *image) addAttestation(subject digest.Digest) ocispec.Descriptor {
	statement := encode(map[string]any{
		"_type":         "https://in-toto.io/Statement/v0.1",
		"predicateType": "https://slsa.dev/provenance/v0.2",
		"subject":       []any{map[string]any{"name": "acme/app", "digest": map[string]string{"sha256": subject.Encoded()}}},
		"predicate":     map[string]any{"buildType": "https://example.com/demo"},
	})
	platform := ocispec.Platform{OS: "unknown", Architecture: "unknown"}
	d := i.addManifest("the attestation", ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    i.addBlob(ocispec.MediaTypeImageConfig, encode(ocispec.Image{Platform: platform})),
		Layers:    []ocispec.Descriptor{i.addBlob(inTotoLayer, statement)},
	})
	d.Platform = &platform
	d.Annotations = map[string]string{
		"vnd.docker.reference.type":   "attestation-manifest",
		"vnd.docker.reference.digest": subject.String(),
	}
	return d
}

func (i *image) addBlob(mediaType string, content []byte) ocispec.Descriptor {
	i.blobs = append(i.blobs, content)
	return describe(mediaType, content)
}

func (i *image) addManifest(name, mediaType string, v any) ocispec.Descriptor {
	content := encode(v)
	i.manifests = append(i.manifests, manifest{name: name, mediaType: mediaType, content: content})
	return describe(mediaType, content)
}

func describe(mediaType string, content []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.Digest(digestOf(content)), Size: int64(len(content))}
}

// encode returns v as JSON. It panics if v cannot be encoded, which does not happen for the
// types used here.
func encode(v any) []byte {
	content, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return content
}

// layer returns a tar archive with one file. Writing to memory does not fail.
func layer(name, content string) []byte {
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	_ = archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
	_, _ = archive.Write([]byte(content))
	_ = archive.Close()
	return out.Bytes()
}

func compress(content []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(content)
	_ = w.Close()
	return out.Bytes()
}
