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

	blobs := []Blob{{Content: write(config), MediaType: configType, Algorithm: i.BlobAlgorithm}}
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
// the configuration.
func imageJSON(m Manifest, artifactType string, annotations map[string]string, subject Content) []byte {
	layers := list{}
	for _, layer := range m.Blobs[1:] {
		layers = append(layers, described(layer.Descriptor()))
	}
	o := object{{"layers", layers}, {"config", described(m.Blobs[0].Descriptor())}}
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
	return write(append(o, member{"mediaType", m.MediaType}, member{"schemaVersion", 2}))
}

// Artifact is an OCI image manifest that holds something else than an image:
// with an artifactType and the empty configuration (OCI image specification,
// "Guidelines for Artifact Usage").
type Artifact struct {
	Seed string
	// Type is its artifactType; "application/vnd.example.sbom" where "".
	Type string
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
	empty := Blob{Content: []byte("{}"), MediaType: ocispec.MediaTypeEmptyJSON, Inline: true}
	m := Manifest{
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: cmp.Or(a.Type, "application/vnd.example.sbom"),
		Blobs:        append([]Blob{empty}, layers...),
	}
	m.Bytes = imageJSON(m, m.ArtifactType, a.Annotations, a.Subject)
	return built(m, "")
}
