package registrytest

import (
	"cmp"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Docker and of the OCI artifact manifest. They are repeated here so that tests
// do not depend on the code under test.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	schema1Signed  = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	schema1Plain   = "application/vnd.docker.distribution.manifest.v1+json"
	ociArtifact    = "application/vnd.oci.artifact.manifest.v1+json"
)

// Image is an image for one platform.
type Image struct {
	// Seed distinguishes the content from that of other images.
	Seed string
	// Docker selects the Docker schema 2 format instead of OCI.
	Docker bool
	// Platform is "os/architecture[/variant]", for the config and for descriptors in an index.
	// It defaults to "linux/amd64".
	Platform string
	// Config is the content of the config. It defaults to one with Platform and Seed.
	Config []byte
	// Layers defaults to two small generated layers.
	Layers []Blob
	// BlobAlgorithm is the digest algorithm of the config, and of layers without an Algorithm.
	BlobAlgorithm digest.Algorithm
	// Algorithm is the digest algorithm of the manifest. It defaults to sha256.
	Algorithm digest.Algorithm
	// Annotations and Subject are set in the manifest (OCI only).
	Annotations map[string]string
	Subject     Content
}

// Build implements Content.
func (i Image) Build() Manifest {
	runs := cmp.Or(i.Platform, "linux/amd64")
	p := platform(runs)
	mediaType, configType, layerType := ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, ocispec.MediaTypeImageLayerGzip
	if i.Docker {
		mediaType, configType, layerType = dockerManifest, dockerConfig, dockerLayer
	}
	layers := i.Layers
	if layers == nil {
		layers = []Blob{Layer(i.Seed+" base "+runs, 3000), Layer(i.Seed+" app "+runs, 20_000)}
	}
	config := object{{"os", p.OS}, {"architecture", p.Architecture}}
	if p.Variant != "" {
		config = append(config, member{"variant", p.Variant})
	}
	var diffIDs, history list
	for _, layer := range layers {
		diffIDs = append(diffIDs, string(layer.digest(digest.SHA256)))
		history = append(history, object{{"created", "2020-01-01T00:00:00Z"}, {"created_by", "layer " + layer.Seed}})
	}
	config = append(config,
		member{"config", object{{"Labels", object{{"seed", i.Seed}}}}},
		member{"rootfs", object{{"type", "layers"}, {"diff_ids", diffIDs}}},
		// Docker's registry derives a schema 1 manifest from the history for clients that send
		// no Accept header.
		member{"history", history})

	written := i.Config
	if written == nil {
		written = marshal(config)
	}
	blobs := []Blob{{Content: written, MediaType: configType, Algorithm: i.BlobAlgorithm}}
	for _, layer := range layers {
		layer.MediaType = cmp.Or(layer.MediaType, layerType)
		layer.Algorithm = cmp.Or(layer.Algorithm, i.BlobAlgorithm)
		blobs = append(blobs, layer)
	}
	m := Manifest{MediaType: mediaType, Platform: p, Blobs: blobs}
	m.Bytes = imageJSON(m, "", i.Annotations, i.Subject)
	return withDigest(m, i.Algorithm)
}

// imageJSON returns the JSON of the manifest of an image or artifact. The first of m.Blobs is
// the config, if that kind of manifest has one.
func imageJSON(m Manifest, artifactType string, annotations map[string]string, subject Content) []byte {
	blobs := list{}
	for _, b := range m.Blobs {
		blobs = append(blobs, descriptorObject(b.Descriptor()))
	}
	o := object{{"blobs", blobs}}
	if m.MediaType != ociArtifact {
		o = object{{"layers", blobs[1:]}, {"config", blobs[0]}}
	}
	o = append(o, optionalMembers(annotations, artifactType, subject)...)
	o = append(o, member{"mediaType", m.MediaType})
	if m.MediaType == ociArtifact {
		return marshal(o)
	}
	return marshal(append(o, member{"schemaVersion", 2}))
}

// optionalMembers returns the members that every kind of OCI manifest may have.
func optionalMembers(annotations map[string]string, artifactType string, subject Content) (o object) {
	if annotations != nil {
		o = append(o, member{"annotations", annotations})
	}
	if subject != nil {
		s := subject.Build()
		o = append(o, member{"subject", descriptorObject(ocispec.Descriptor{MediaType: s.MediaType, Digest: s.Digest, Size: int64(len(s.Bytes))})})
	}
	if artifactType != "" {
		o = append(o, member{"artifactType", artifactType})
	}
	return o
}

// Artifact is content other than an image. It is an OCI image manifest with an artifactType and
// the empty config (OCI image specification, "Guidelines for Artifact Usage"), or has one of
// the older forms.
type Artifact struct {
	Seed string
	// Type is the artifact type. It defaults to "application/vnd.example.sbom".
	Type string
	// TypeInConfig sets the type as the media type of the config instead of as artifactType, as
	// oras 0.x, helm and cosign do.
	TypeInConfig bool
	// Old selects the OCI artifact manifest, which image-spec defined temporarily before 1.1.
	// It has no config, and its layers are called blobs.
	Old bool
	// Layers defaults to one small generated blob.
	Layers      []Blob
	Annotations map[string]string
	Subject     Content
}

// Build implements Content.
func (a Artifact) Build() Manifest {
	layers := a.Layers
	if layers == nil {
		layers = []Blob{{Seed: a.Seed + " artifact", Size: 500, MediaType: "application/vnd.example.data"}}
	}
	m := Manifest{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: cmp.Or(a.Type, "application/vnd.example.sbom")}
	config := Blob{Content: []byte("{}"), MediaType: ocispec.MediaTypeEmptyJSON, Inline: true}
	artifactType := m.ArtifactType
	if a.TypeInConfig {
		config.MediaType, artifactType = m.ArtifactType, ""
	}
	m.Blobs = append([]Blob{config}, layers...)
	if a.Old {
		m.MediaType, m.Blobs = ociArtifact, layers
	}
	m.Bytes = imageJSON(m, artifactType, a.Annotations, a.Subject)
	return withDigest(m, "")
}
