package registry

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
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
// ErrProtocol where contentType cannot be one of a manifest, and
// ErrInvalidManifest where a schema 1 manifest has no readable payload.
func NewManifest(contentType string, content []byte, algorithm digest.Algorithm) (Manifest, error) {
	mediaType := MediaType(contentType)
	if mediaType == "" || mediaType == "text/html" || mediaType == "text/plain" {
		return Manifest{}, &Error{Op: "read the manifest", Kind: ErrProtocol,
			Message: fmt.Sprintf("the answer has the Content-Type %q, which is no manifest's", Clean(contentType))}
	}
	if algorithm == "" {
		algorithm = digest.Canonical
	}
	payload := content
	if IsSchema1(mediaType) {
		var err error
		if payload, err = schema1Payload(content); err != nil {
			return Manifest{}, err
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

// maxEntries is how many descriptors one manifest may name. Images have at most
// some hundred layers and indexes some hundred children; beyond this somebody
// wants memory.
const maxEntries = 10_000

// wireManifest has every field by which a manifest of any known kind names
// something.
type wireManifest struct {
	MediaType    string                    `json:"mediaType"`
	ArtifactType string                    `json:"artifactType"`
	Annotations  map[string]string         `json:"annotations"`
	Subject      *wireDescriptor           `json:"subject"`
	Config       *wireDescriptor           `json:"config"`
	Layers       []wireDescriptor          `json:"layers"`
	Blobs        []wireDescriptor          `json:"blobs"`
	Manifests    []wireDescriptor          `json:"manifests"`
	FSLayers     []wireFSLayer             `json:"fsLayers"`
	Others       map[string]jsontext.Value `json:",embed"`
}

type wireFSLayer struct {
	BlobSum string                    `json:"blobSum"`
	Others  map[string]jsontext.Value `json:",embed"`
}

// Parse reads what the manifest names. Bytes that two readers may understand in
// two ways are refused: duplicate keys, keys that differ from a known one only
// in case, an index's and an image's fields in one manifest (CVE-2021-41190),
// and a mediaType that is not the one it was received with. The error matches
// ErrInvalidManifest, ErrMismatch or ErrLimit.
func (m Manifest) Parse() (Contents, error) {
	fail := func(kind error, format string, args ...any) (Contents, error) {
		return Contents{}, &Error{Op: "read the manifest", Reference: m.Digest.String(), Kind: kind, Message: fmt.Sprintf(format, args...)}
	}
	if err := countEntries(m.Content); err != nil {
		return fail(ErrLimit, "%s", err)
	}
	var wire wireManifest
	if err := decode(m.Content, &wire); err != nil {
		return fail(ErrInvalidManifest, "%s received as %s: %s", "it is not a JSON object of the form", Clean(m.MediaType), Clean(err.Error()))
	}
	if err := caseVariant(wire.Others, wireManifestKeys); err != nil {
		return fail(ErrInvalidManifest, "%s", err)
	}
	if wire.MediaType != "" && MediaType(wire.MediaType) != m.MediaType {
		return fail(ErrInvalidManifest, "it says it is %q and was received as %q", Clean(wire.MediaType), Clean(m.MediaType))
	}
	if why := ambiguous(m.MediaType, wire); why != "" {
		return fail(ErrInvalidManifest, "%s, so that clients disagree on what it is", why)
	}
	return wire.contents()
}

// ambiguous says in what way a manifest can be taken for another kind than its
// media type, "" where it cannot. Only null and absence are unambiguous: an
// empty list is a field too.
func ambiguous(mediaType string, wire wireManifest) string {
	index := wire.Manifests != nil
	image := wire.Config != nil || wire.Layers != nil || wire.Blobs != nil
	schema1 := wire.FSLayers != nil
	switch {
	case IsIndex(mediaType) && (image || schema1):
		return "it is an index and has the fields of an image"
	case !IsIndex(mediaType) && IsManifest(mediaType) && index:
		return "it is an image and has the fields of an index"
	case index && image, index && schema1, image && schema1 && !IsSchema1(mediaType):
		return "it has the fields of more than one kind of manifest"
	}
	return ""
}

func (wire wireManifest) contents() (Contents, error) {
	c := Contents{ArtifactType: wire.ArtifactType, Annotations: wire.Annotations}
	var err error
	if c.Subject, err = optional(wire.Subject); err != nil {
		return Contents{}, err
	}
	if c.Config, err = optional(wire.Config); err != nil {
		return Contents{}, err
	}
	for _, list := range []struct {
		from []wireDescriptor
		to   *[]Descriptor
	}{{wire.Layers, &c.Layers}, {wire.Blobs, &c.Layers}, {wire.Manifests, &c.Manifests}} {
		for i := range list.from {
			d, err := list.from[i].descriptor()
			if err != nil {
				return Contents{}, err
			}
			*list.to = append(*list.to, d)
		}
	}
	for _, layer := range wire.FSLayers {
		if err := caseVariant(layer.Others, []string{"blobSum"}); err != nil {
			return Contents{}, &Error{Op: "read the manifest", Kind: ErrInvalidManifest, Message: err.Error()}
		}
		d := Descriptor{Digest: digest.Digest(layer.BlobSum), Size: SizeUnknown}
		if err := d.Digest.Validate(); err != nil {
			return Contents{}, &Error{Op: "read a layer's digest", Reference: Clean(layer.BlobSum), Kind: ErrInvalidManifest, Err: err}
		}
		c.Layers = append(c.Layers, d)
	}
	return c, nil
}

var wireManifestKeys = strings.Fields("schemaVersion mediaType artifactType annotations subject config layers blobs manifests fsLayers")
