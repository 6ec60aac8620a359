package registry

import (
	"encoding/base64"
	"slices"
	"strings"
)

// schema1Payload is what the digest of a schema 1 manifest is over. A signed
// one carries its signatures inside the JSON: each protected header says how
// many bytes of the payload come first and what its end was (Docker registry
// "Image Manifest V 2, Schema 1", "Signed Manifests"). An unsigned one is its
// own payload.
func schema1Payload(content []byte) ([]byte, *Error) {
	if why := countEntries(content); why != "" {
		return nil, newFault(ErrLimit, "%s", why)
	}
	var signed struct {
		Signatures []struct {
			Protected string `json:"protected"`
		} `json:"signatures"`
	}
	if why := decode(content, &signed); why != "" {
		return nil, newFault(ErrInvalidManifest, "%s", why)
	}
	if len(signed.Signatures) == 0 {
		return content, nil
	}
	format, why := readSignedFormat(signed.Signatures[0].Protected)
	if why != "" {
		return nil, newFault(ErrInvalidManifest, "%s", why)
	}
	for _, signature := range signed.Signatures[1:] {
		if other, why := readSignedFormat(signature.Protected); why != "" || other != format {
			return nil, newFault(ErrInvalidManifest, "its signatures are over different payloads")
		}
	}
	tail, err := base64URL(format.Tail)
	if err != nil {
		return nil, newFault(ErrInvalidManifest, "a signature's formatTail is not base64url")
	}
	if format.Length <= 0 || format.Length > len(content) {
		return nil, newFault(ErrInvalidManifest, "a signature's formatLength of %d is not inside the manifest of %d bytes", format.Length, len(content))
	}
	return slices.Concat(content[:format.Length], tail), nil
}

// signedFormat says where a signed manifest has its payload.
type signedFormat struct {
	// Length is how many bytes of the manifest the payload begins with.
	Length int `json:"formatLength"`
	// Tail is how it ends, in base64url.
	Tail string `json:"formatTail"`
}

func readSignedFormat(protected string) (format signedFormat, why string) {
	header, err := base64URL(protected)
	if err != nil {
		return format, "a signature's protected header is not base64url"
	}
	if why := decode(header, &format); why != "" {
		return format, "a signature's protected header cannot be read: " + why
	}
	return format, ""
}

// base64URL decodes with and without padding: the standard has none, and some
// who sign write it.
func base64URL(s string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
}
