package registry

import (
	"strings"

	"github.com/opencontainers/go-digest"
)

// Manifest is a manifest as a registry holds it: the bytes that were received,
// the media type that they were received with, and the digest that was computed
// over them. It is never serialised again.
type Manifest struct {
	// MediaType is the Content-Type it came with, without parameters.
	MediaType string
	// Digest is over Content or, for schema 1, over its payload without the
	// signatures.
	Digest digest.Digest
	// Content is the manifest, byte for byte.
	Content []byte
}

// NewManifest takes what a registry answered: the Content-Type header, the body
// and the algorithm its digest is wanted in ("" for sha256). It computes the
// digest and reads nothing else of the body; Parse does. The error matches
// ErrProtocol where contentType cannot be one of a manifest, or is that of any
// JSON and content has none of a manifest's fields, ErrInvalidReference where the
// algorithm is not supported, and ErrInvalidManifest or ErrLimit where a schema 1
// manifest has no readable payload.
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

// Contents is what a manifest names. The fields that a media type does not have
// are empty.
type Contents struct {
	ArtifactType string
	Annotations  map[string]string
	// Subject is what a referrer refers to. It is not content of the manifest.
	Subject *Descriptor
	// Config is the configuration blob.
	Config *Descriptor
	// Layers are the layers of an image, the blobs of an artifact, and the
	// fsLayers of a schema 1 image; the latter have no size (SizeUnknown).
	Layers []Descriptor
	// Manifests are the children of an index.
	Manifests []Descriptor
}

// SizeUnknown is the size of a blob that a schema 1 manifest names.
const SizeUnknown = -1

// Blobs are all blobs that the manifest names: the configuration and the
// layers.
func (c Contents) Blobs() []Descriptor {
	if c.Config == nil {
		return c.Layers
	}
	return append([]Descriptor{*c.Config}, c.Layers...)
}

// Parse reads what the manifest names. Bytes that two readers may understand in
// two ways are refused: duplicate keys, keys that differ from a known one only
// in case, the fields of another kind of manifest than its media type
// (CVE-2021-41190), and a mediaType that is not the one it was received with.
// Of a schema 1 manifest it reads what its digest is over. The error matches
// ErrInvalidManifest, ErrMismatch or ErrLimit.
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
