package registrytest

import (
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Content is content that can be pushed. It is implemented by Image, Index, Artifact,
// Schema1Image, Raw and Manifest.
type Content interface {
	// Build returns the manifest with all content that it refers to. It returns the same bytes
	// each time.
	Build() Manifest
}

// Manifest is a manifest with all content that it refers to.
type Manifest struct {
	MediaType string
	Digest    digest.Digest
	Bytes     []byte
	// ArtifactType and Platform are set in descriptors of the manifest.
	ArtifactType string
	Platform     *ocispec.Platform
	// Annotations are set in descriptors of the manifest in an index. They are not in the
	// manifest itself.
	Annotations map[string]string
	// Blobs has the config, if there is one, followed by the layers.
	Blobs []Blob
	// Manifests has the children.
	Manifests []Manifest
}

// Build returns m.
func (m Manifest) Build() Manifest { return m }

// Descriptor returns the descriptor of m in an index.
func (m Manifest) Descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Bytes)),
		ArtifactType: m.ArtifactType, Platform: m.Platform, Annotations: m.Annotations,
	}
}

// withDigest returns m with its digest computed from its bytes.
func withDigest(m Manifest, algorithm digest.Algorithm) Manifest {
	if algorithm == "" {
		algorithm = digest.SHA256
	}
	m.Digest = algorithm.FromBytes(m.Bytes)
	return m
}

// Raw is a manifest of arbitrary bytes and media type. Blobs and Manifests are pushed before
// it.
type Raw struct {
	MediaType string
	Bytes     []byte
	Algorithm digest.Algorithm // defaults to sha256
	Blobs     []Blob
	Manifests []Content
}

// Build implements Content.
func (r Raw) Build() Manifest {
	m := Manifest{MediaType: r.MediaType, Bytes: r.Bytes, Blobs: r.Blobs}
	for _, child := range r.Manifests {
		m.Manifests = append(m.Manifests, child.Build())
	}
	return withDigest(m, r.Algorithm)
}

// platform parses "os/architecture[/variant]".
func platform(s string) *ocispec.Platform {
	if s == "" {
		return nil
	}
	parts := append(strings.Split(s, "/"), "", "")
	return &ocispec.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
}
