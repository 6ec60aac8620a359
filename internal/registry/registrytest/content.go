package registrytest

import (
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Content is what can be pushed: Image, Index, Artifact, Schema1Image, Raw, and
// a Manifest that was built already.
type Content interface {
	// Build makes the manifest and names everything below it. It gives the
	// same bytes each time.
	Build() Manifest
}

// Manifest is a manifest and everything that it names.
type Manifest struct {
	MediaType string
	Digest    digest.Digest
	Bytes     []byte
	// ArtifactType and Platform go into descriptors of it.
	ArtifactType string
	Platform     *ocispec.Platform
	// Annotations are those of its descriptor in an index, not its own.
	Annotations map[string]string
	// Blobs are its configuration, if any, and then its layers.
	Blobs []Blob
	// Manifests are its children.
	Manifests []Manifest
}

// Build returns m.
func (m Manifest) Build() Manifest { return m }

// Descriptor is how an index names m.
func (m Manifest) Descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Bytes)),
		ArtifactType: m.ArtifactType, Platform: m.Platform, Annotations: m.Annotations,
	}
}

// built computes the digest of a manifest that is otherwise complete.
func built(m Manifest, algorithm digest.Algorithm) Manifest {
	if algorithm == "" {
		algorithm = digest.SHA256
	}
	m.Digest = algorithm.FromBytes(m.Bytes)
	return m
}

// Raw is a manifest of any bytes and media type, with what has to be there
// before it.
type Raw struct {
	MediaType string
	Bytes     []byte
	Algorithm digest.Algorithm // sha256 where ""
	Blobs     []Blob
	Manifests []Content
}

// Build implements Content.
func (r Raw) Build() Manifest {
	m := Manifest{MediaType: r.MediaType, Bytes: r.Bytes, Blobs: r.Blobs}
	for _, child := range r.Manifests {
		m.Manifests = append(m.Manifests, child.Build())
	}
	return built(m, r.Algorithm)
}

// platform reads "os/architecture[/variant]".
func platform(s string) *ocispec.Platform {
	if s == "" {
		return nil
	}
	parts := append(strings.Split(s, "/"), "", "")
	return &ocispec.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
}
