package registrytest

import (
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Index is an index of other manifests, which may be indexes too.
type Index struct {
	// Docker selects a Docker manifest list instead of an OCI index.
	Docker bool
	// Manifests has the children, in order.
	Manifests []Content
	// Algorithm is the digest algorithm of the index. It defaults to sha256.
	Algorithm digest.Algorithm
	// Annotations, ArtifactType and Subject are set in the index (OCI only).
	Annotations  map[string]string
	ArtifactType string
	Subject      Content
}

// Build implements Content.
func (i Index) Build() Manifest {
	m := Manifest{MediaType: ocispec.MediaTypeImageIndex, ArtifactType: i.ArtifactType}
	if i.Docker {
		m.MediaType = dockerList
	}
	children := list{}
	for _, content := range i.Manifests {
		child := content.Build()
		m.Manifests = append(m.Manifests, child)
		children = append(children, descriptorObject(child.Descriptor()))
	}
	o := append(object{{"manifests", children}}, optionalMembers(i.Annotations, i.ArtifactType, i.Subject)...)
	m.Bytes = marshal(append(o, member{"schemaVersion", 2}, member{"mediaType", m.MediaType}))
	return withDigest(m, i.Algorithm)
}

// MultiArch returns an OCI index as builders push it today: images for linux/amd64 and
// linux/arm64/v8, each with an attestation manifest.
func MultiArch(seed string) Index {
	amd64 := Image{Seed: seed, Platform: "linux/amd64"}.Build()
	arm64 := Image{Seed: seed, Platform: "linux/arm64/v8"}.Build()
	return Index{
		Manifests:   []Content{amd64, arm64, Attestation(seed, amd64), Attestation(seed, arm64)},
		Annotations: map[string]string{"org.opencontainers.image.title": seed},
	}
}

// DockerList returns a Docker manifest list with schema 2 images for linux/amd64 and
// linux/arm64/v8.
func DockerList(seed string) Index {
	return Index{Docker: true, Manifests: []Content{
		Image{Docker: true, Seed: seed, Platform: "linux/amd64"},
		Image{Docker: true, Seed: seed, Platform: "linux/arm64/v8"},
	}}
}

// Nested returns an OCI index with a MultiArch index and an image.
func Nested(seed string) Index {
	return Index{Manifests: []Content{
		MultiArch(seed),
		Image{Seed: seed + " beside", Platform: "linux/s390x"},
	}}
}

// Attestation returns an attestation as BuildKit adds it to an index for an image: an image
// manifest for the platform unknown/unknown, whose descriptor has the digest of the image.
func Attestation(seed string, of Content) Manifest {
	about := of.Build().Digest
	m := Image{
		Seed:     seed + " attestation of " + string(about),
		Platform: "unknown/unknown",
		Layers: []Blob{{
			Seed: seed + " provenance of " + string(about), Size: 700, MediaType: "application/vnd.in-toto+json",
			Annotations: map[string]string{"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"},
		}},
	}.Build()
	m.Annotations = map[string]string{
		"vnd.docker.reference.type":   "attestation-manifest",
		"vnd.docker.reference.digest": string(about),
	}
	return m
}
