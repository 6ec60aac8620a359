package registry

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// decode reads JSON that somebody else wrote. Duplicate keys and invalid UTF-8
// are errors, keys match in their own case only, nesting is bounded.
func decode(content []byte, v any) error {
	return json.Unmarshal(content, v)
}

// wireDescriptor is a Descriptor as it comes. It is a type of its own so that
// keys which are none of the specification's can be looked at.
type wireDescriptor struct {
	MediaType    string                    `json:"mediaType"`
	Digest       digest.Digest             `json:"digest"`
	Size         int64                     `json:"size"`
	URLs         []string                  `json:"urls"`
	Annotations  map[string]string         `json:"annotations"`
	Data         []byte                    `json:"data"`
	Platform     *ocispec.Platform         `json:"platform"`
	ArtifactType string                    `json:"artifactType"`
	Others       map[string]jsontext.Value `json:",embed"`
}

var wireDescriptorKeys = strings.Fields("mediaType digest size urls annotations data platform artifactType")

func (w *wireDescriptor) descriptor() (Descriptor, error) {
	if err := caseVariant(w.Others, wireDescriptorKeys); err != nil {
		return Descriptor{}, &Error{Op: "read a descriptor", Reference: Clean(w.Digest.String()), Kind: ErrInvalidManifest, Message: err.Error()}
	}
	d := Descriptor{
		MediaType: w.MediaType, Digest: w.Digest, Size: w.Size, URLs: w.URLs,
		Annotations: w.Annotations, Data: w.Data, Platform: w.Platform, ArtifactType: w.ArtifactType,
	}
	return d, ValidateDescriptor(d)
}

func optional(w *wireDescriptor) (*Descriptor, error) {
	if w == nil {
		return nil, nil
	}
	d, err := w.descriptor()
	return &d, err
}

// caseVariant refuses a key that differs from a known one in case alone: Go's
// own decoder, and so most registries and runtimes, would take it for the known
// one while others would not see it.
func caseVariant(others map[string]jsontext.Value, known []string) error {
	for key := range others {
		for _, k := range known {
			if key != k && strings.EqualFold(key, k) {
				return fmt.Errorf("it has the key %q, which some clients take for %q", Clean(key), k)
			}
		}
	}
	return nil
}

// countEntries refuses a manifest that names more than maxEntries things before
// anything is allocated for them.
func countEntries(content []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(content))
	for {
		if _, err := d.ReadToken(); err != nil {
			// Not for this function to report: decode says what is wrong.
			return nil
		}
		if depth := d.StackDepth(); depth > 0 {
			if kind, length := d.StackIndex(depth); kind == '[' && length > maxEntries {
				return fmt.Errorf("it has a list of more than %d entries", maxEntries)
			} else if kind == '{' && length > 2*maxEntries {
				return fmt.Errorf("it has an object of more than %d members", maxEntries)
			}
		}
	}
}

// schema1Payload is what the digest of a schema 1 manifest is over. A signed
// one carries its signatures inside the JSON: each protected header says how
// many bytes of the payload come first and what its end was (Docker registry
// "Image Manifest V 2, Schema 1", "Signed Manifests"). An unsigned one is its
// own payload.
func schema1Payload(content []byte) ([]byte, error) {
	fail := func(why string) ([]byte, error) {
		return nil, &Error{Op: "read the schema 1 manifest", Kind: ErrInvalidManifest, Message: why}
	}
	var signed struct {
		Signatures []struct {
			Protected string `json:"protected"`
		} `json:"signatures"`
	}
	if err := decode(content, &signed); err != nil {
		return fail(Clean(err.Error()))
	}
	if len(signed.Signatures) == 0 {
		return content, nil
	}
	var payload []byte
	for _, signature := range signed.Signatures {
		p, err := signedPayload(content, signature.Protected)
		if err != nil {
			return fail(err.Error())
		}
		if payload != nil && !bytes.Equal(p, payload) {
			return fail("its signatures are over different payloads")
		}
		payload = p
	}
	return payload, nil
}

func signedPayload(content []byte, protected string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(protected, "="))
	if err != nil {
		return nil, errors.New("a signature's protected header is not base64url")
	}
	var header struct {
		Length int    `json:"formatLength"`
		Tail   string `json:"formatTail"`
	}
	if err := decode(raw, &header); err != nil {
		return nil, errors.New("a signature's protected header is not JSON")
	}
	tail, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(header.Tail, "="))
	if err != nil {
		return nil, errors.New("a signature's formatTail is not base64url")
	}
	if header.Length < 0 || header.Length > len(content) {
		return nil, fmt.Errorf("a signature's formatLength of %d is outside the manifest", header.Length)
	}
	return append(bytes.Clone(content[:header.Length]), tail...), nil
}
