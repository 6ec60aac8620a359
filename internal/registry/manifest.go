package registry

import (
	"strings"

	"github.com/opencontainers/go-digest"
)

// Manifest is a manifest as a registry stores it: the received bytes, the received
// media type, and the digest that was computed over the bytes. It is never
// serialized again.
type Manifest struct {
	// MediaType is the received Content-Type, without parameters.
	MediaType string
	// Digest is the digest of Content or, for schema 1, of the payload without the
	// signatures.
	Digest digest.Digest
	// Content is the manifest, byte for byte.
	Content []byte
}

// NewManifest returns a manifest for a registry's response: the Content-Type
// header, the body and the digest algorithm to use ("" for sha256). It computes the
// digest; Parse reads the rest of the body.
//
// The error matches ErrProtocol if contentType cannot be the type of a manifest, or
// if it is application/json and content has no manifest field. It matches
// ErrInvalidReference if the algorithm is not supported, and ErrInvalidManifest or
// ErrLimit if a schema 1 manifest has no valid payload.
func NewManifest(contentType string, content []byte, algorithm digest.Algorithm) (Manifest, error) {
	mediaType := MediaType(contentType)
	var fault *Error
	switch {
	case mediaType == "" || mediaType == "text/html" || mediaType == "text/plain":
		fault = newFault(ErrProtocol, "the answer has the Content-Type %q, which is no manifest's", Sanitize(contentType))
	case mediaType == "application/json" && !resemblesManifest(content):
		fault = newFault(ErrProtocol, "the answer has the Content-Type %q and nothing in it that a manifest has", Sanitize(contentType))
	}
	if fault != nil {
		fault.Op = "read the manifest"
		return Manifest{}, fault
	}
	if algorithm == "" {
		algorithm = digest.Canonical
	}
	if !algorithm.Available() {
		return Manifest{}, ValidateDigest(digest.Digest(algorithm + ":"))
	}
	payload := content
	if IsSchema1(mediaType) {
		var fault *Error
		if payload, fault = schema1Payload(content); fault != nil {
			fault.Op = "read the schema 1 manifest"
			return Manifest{}, fault
		}
	}
	return Manifest{MediaType: mediaType, Digest: algorithm.FromBytes(payload), Content: content}, nil
}

// Descriptor returns the descriptor of m.
func (m Manifest) Descriptor() Descriptor {
	return Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Content))}
}

// Contents are the fields and descriptors of a manifest. Fields that the media type
// does not have are empty.
type Contents struct {
	ArtifactType string
	Annotations  map[string]string
	// Subject is the manifest that a referrer refers to. It is not content of the
	// manifest.
	Subject *Descriptor
	// Config is the configuration blob.
	Config *Descriptor
	// Layers are the layers of an image, the blobs of an artifact, or the fsLayers
	// of a schema 1 image. The latter have no size (SizeUnknown).
	Layers []Descriptor
	// Manifests are the children of an index.
	Manifests []Descriptor
}

// SizeUnknown is the size of a blob in a schema 1 manifest.
const SizeUnknown = -1

// Blobs returns all blobs of the manifest: the configuration and the layers.
func (c Contents) Blobs() []Descriptor {
	if c.Config == nil {
		return c.Layers
	}
	return append([]Descriptor{*c.Config}, c.Layers...)
}

// Parse parses the manifest. It returns an error for content that parsers may
// interpret differently: duplicate keys, keys that differ from a known one only in
// case, fields of another kind of manifest (CVE-2021-41190), and a mediaType that
// differs from the received one. It parses the payload of a schema 1 manifest, over
// which the digest is computed. The error matches ErrInvalidManifest, ErrMismatch
// or ErrLimit.
func (m Manifest) Parse() (Contents, error) {
	contents, fault := m.parse()
	if fault != nil {
		fault.Op, fault.Reference = "read the manifest", m.Digest.String()
		return Contents{}, fault
	}
	return contents, nil
}

func (m Manifest) parse() (Contents, *Error) {
	content := m.Content
	if IsSchema1(m.MediaType) {
		var fault *Error
		if content, fault = schema1Payload(content); fault != nil {
			return Contents{}, fault
		}
	}
	if why := countEntries(content); why != "" {
		return Contents{}, newFault(ErrLimit, "%s", why)
	}
	var wire wireManifest
	if why := decode(content, &wire); why != "" {
		return Contents{}, newFault(ErrInvalidManifest, "it was received as %s, and %s", Sanitize(m.MediaType), why)
	}
	if why := caseVariant(wire.Others, wireManifestKeys); why != "" {
		return Contents{}, newFault(ErrInvalidManifest, "%s", why)
	}
	if wire.MediaType != "" && !strings.EqualFold(wire.MediaType, m.MediaType) {
		return Contents{}, newFault(ErrInvalidManifest, "it says it is %q and was received as %q", Sanitize(wire.MediaType), Sanitize(m.MediaType))
	}
	if why := ambiguous(m.MediaType, wire); why != "" {
		return Contents{}, newFault(ErrInvalidManifest, "%s, so that clients disagree on what it is", why)
	}
	return wire.contents()
}
