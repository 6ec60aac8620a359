package registrytest

import (
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Index names other manifests, further indexes among them.
type Index struct {
	// Docker makes it a Docker manifest list; otherwise it is an OCI index.
	Docker bool
	// Manifests are its children, in this order.
	Manifests []Content
	// Algorithm is the one of its own digest; sha256 where "".
	Algorithm digest.Algorithm
	// Annotations, ArtifactType and Subject are its own (OCI only).
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
		children = append(children, described(child.Descriptor()))
	}
	o := append(object{{"manifests", children}}, more(i.Annotations, i.ArtifactType, i.Subject)...)
	m.Bytes = write(append(o, member{"schemaVersion", 2}, member{"mediaType", m.MediaType}))
	return built(m, i.Algorithm)
}

// MultiArch is an OCI index as builders push it today: linux/amd64 and
// linux/arm64/v8, and for each an attestation manifest.
func MultiArch(seed string) Index {
	amd64 := Image{Seed: seed, Platform: "linux/amd64"}.Build()
	arm64 := Image{Seed: seed, Platform: "linux/arm64/v8"}.Build()
	return Index{
		Manifests:   []Content{amd64, arm64, Attestation(seed, amd64), Attestation(seed, arm64)},
		Annotations: map[string]string{"org.opencontainers.image.title": seed},
	}
}

// DockerList is a Docker manifest list of two schema 2 images, linux/amd64 and
// linux/arm64/v8.
func DockerList(seed string) Index {
	return Index{Docker: true, Manifests: []Content{
		Image{Docker: true, Seed: seed, Platform: "linux/amd64"},
		Image{Docker: true, Seed: seed, Platform: "linux/arm64/v8"},
	}}
}

// Nested is an OCI index that names MultiArch and, beside it, a single image.
func Nested(seed string) Index {
	return Index{Manifests: []Content{
		MultiArch(seed),
		Image{Seed: seed + " beside", Platform: "linux/s390x"},
	}}
}

// Attestation is what BuildKit puts into an index beside an image: an image
// manifest for the platform unknown/unknown, whose descriptor says which
// manifest it is about.
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
