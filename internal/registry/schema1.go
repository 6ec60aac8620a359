package registry

import (
	"encoding/base64"
	"slices"
	"strings"
)

// schema1Payload returns the bytes over which the digest of a schema 1 manifest is
// computed. A signed manifest has its signatures inside the JSON. Each protected
// header has the length of the leading part of the payload, and its end (Docker
// registry "Image Manifest V 2, Schema 1", "Signed Manifests"). The payload of an
// unsigned manifest is the manifest itself.
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

// signedFormat describes the payload of a signed manifest.
type signedFormat struct {
	// Length is how many bytes of the manifest the payload begins with.
	Length int `json:"formatLength"`
	// Tail is the end of the payload, in base64url.
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

// base64URL decodes s with or without padding. The standard has no padding, but
// some signing tools add it.
func base64URL(s string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
}
