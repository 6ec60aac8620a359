package registrytest

import (
	"cmp"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Docker's media types, spelled out here and not taken from the code under test.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	schema1Signed  = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	schema1Plain   = "application/vnd.docker.distribution.manifest.v1+json"
	ociArtifact    = "application/vnd.oci.artifact.manifest.v1+json"
)

// Image is one platform's image.
type Image struct {
	// Seed makes its content differ from that of other images.
	Seed string
	// Docker makes it a Docker schema 2 image; otherwise it is an OCI image.
	Docker bool
	// Platform is "os/architecture[/variant]", in the configuration and in an
	// index; "linux/amd64" where "".
	Platform string
	// Config is its configuration, byte for byte; one that names Platform and
	// Seed where nil.
	Config []byte
	// Layers are its layers; two small ones of its own where nil.
	Layers []Blob
	// BlobAlgorithm is the one of the digests that name its configuration and
	// the layers that say none themselves.
	BlobAlgorithm digest.Algorithm
	// Algorithm is the one of its own digest; sha256 where "".
	Algorithm digest.Algorithm
	// Annotations and Subject are the manifest's own (OCI only).
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
		// Docker's registry makes a schema 1 manifest from this for who says
		// nothing about what it accepts.
		member{"history", history})

	written := i.Config
	if written == nil {
		written = write(config)
	}
	blobs := []Blob{{Content: written, MediaType: configType, Algorithm: i.BlobAlgorithm}}
	for _, layer := range layers {
		layer.MediaType = cmp.Or(layer.MediaType, layerType)
		layer.Algorithm = cmp.Or(layer.Algorithm, i.BlobAlgorithm)
		blobs = append(blobs, layer)
	}
	m := Manifest{MediaType: mediaType, Platform: p, Blobs: blobs}
	m.Bytes = imageJSON(m, "", i.Annotations, i.Subject)
	return built(m, i.Algorithm)
}

// imageJSON writes the manifest of an image or artifact: first of m.Blobs is
// the configuration, where that kind of manifest has one.
func imageJSON(m Manifest, artifactType string, annotations map[string]string, subject Content) []byte {
	blobs := list{}
	for _, b := range m.Blobs {
		blobs = append(blobs, described(b.Descriptor()))
	}
	o := object{{"blobs", blobs}}
	if m.MediaType != ociArtifact {
		o = object{{"layers", blobs[1:]}, {"config", blobs[0]}}
	}
	o = append(o, more(annotations, artifactType, subject)...)
	o = append(o, member{"mediaType", m.MediaType})
	if m.MediaType == ociArtifact {
		return write(o)
	}
	return write(append(o, member{"schemaVersion", 2}))
}

// more are the members that manifests of every OCI kind may have.
func more(annotations map[string]string, artifactType string, subject Content) (o object) {
	if annotations != nil {
		o = append(o, member{"annotations", annotations})
	}
	if subject != nil {
		s := subject.Build()
		o = append(o, member{"subject", described(ocispec.Descriptor{MediaType: s.MediaType, Digest: s.Digest, Size: int64(len(s.Bytes))})})
	}
	if artifactType != "" {
		o = append(o, member{"artifactType", artifactType})
	}
	return o
}

// Artifact is something else than an image: an OCI image manifest with an
// artifactType and the empty configuration (OCI image specification, "Guidelines
// for Artifact Usage"), or one of the older forms.
type Artifact struct {
	Seed string
	// Type is its artifactType; "application/vnd.example.sbom" where "".
	Type string
	// TypeInConfig gives the type as the media type of the configuration and
	// says no artifactType, as oras 0.x, helm and cosign do.
	TypeInConfig bool
	// Old makes it an OCI artifact manifest, which image-spec had for a while
	// before 1.1: without a configuration, and its layers are its blobs.
	Old bool
	// Layers are its blobs; one small one where nil.
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
	says := m.ArtifactType
	if a.TypeInConfig {
		config.MediaType, says = m.ArtifactType, ""
	}
	m.Blobs = append([]Blob{config}, layers...)
	if a.Old {
		m.MediaType, m.Blobs = ociArtifact, layers
	}
	m.Bytes = imageJSON(m, says, a.Annotations, a.Subject)
	return built(m, "")
}
