package auth_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

var base64Encodings = map[string]*base64.Encoding{
	"standard": base64.StdEncoding, "raw_standard": base64.RawStdEncoding, "url": base64.URLEncoding, "raw_url": base64.RawURLEncoding,
}

// A secret inside larger encoded text has one of three alignments, and any number of bytes
// around it.
func TestRedact_Base64Alignments(t *testing.T) {
	for name, encoding := range base64Encodings {
		t.Run(name, func(t *testing.T) {
			for _, secret := range []string{"s3cr", "s3cr3", "s3cr3t", "~~~???~~~", "p/w d+?=&é", "Pa55-Word/of+some>length?"} {
				for before := range 7 {
					for after := range 7 {
						whole := encoding.EncodeToString([]byte("0123456"[:before] + secret + "6543210"[:after]))
						// The characters without a bit of the secret.
						head, tail := whole[:before*8/6], whole[((before+len(secret))*8+5)/6:]
						for prefix := range 4 { // length of unencoded base64 characters before the text
							text, want := "a "+"key"[:prefix]+whole+" b", "a "+"key"[:prefix]+head+"***"+tail+" b"
							if got := auth.Redact(text, auth.Secret(secret)); got != want {
								t.Errorf("Redact(%q) = %q, want %q", text, got, want)
							}
						}
					}
				}
			}
		})
	}
}

// The encoded credential is redacted inside a header or a file that is encoded as a whole,
// encoded twice, adjacent to other text, or escaped.
func TestRedact_Base64Credential(t *testing.T) {
	c := auth.Credential{Username: "ci", Password: "abc"} // too short to be redacted by itself
	long := auth.Credential{Username: "deploy", Password: "~~~???~~~"}
	for _, credential := range []auth.Credential{c, long} {
		pair := credential.Username + ":" + credential.Password.Reveal()
		for encodingName, encoding := range base64Encodings {
			encoded := encoding.EncodeToString([]byte(pair))
			core := strings.TrimRight(encoded, "=")
			for name, text := range map[string]string{
				"header":         "Authorization: Basic " + encoded,
				"encoded_header": encoding.EncodeToString([]byte("Authorization: Basic " + encoded)),
				"file":           encoding.EncodeToString([]byte(`{"auths":{"ghcr.io":{"auth":"` + encoded + `"}}}`)),
				"larger_pair":    encoding.EncodeToString([]byte("x" + pair + "\n")),
				"adjacent":       "token" + encoded,
				"escaped":        url.QueryEscape("a/" + encoded),
			} {
				got := auth.Redact(text, credential.Secrets()...)
				if !strings.Contains(got, "***") || strings.Contains(got, core[2:len(core)-2]) {
					t.Errorf("%s of %q in %s: Redact() = %q", name, pair, encodingName, got)
				}
				for _, again := range base64Encodings {
					for shift := range 4 {
						decoded, _ := again.DecodeString(got[min(shift, len(got)):])
						if strings.Contains(string(decoded), pair) || strings.Contains(string(decoded), encoded) {
							t.Errorf("%s of %q in %s: Redact() = %q, which decodes to %q", name, pair, encodingName, got, decoded)
						}
					}
				}
			}
		}
	}
}

// Short secrets of common characters are not found by chance in digests and URLs.
func TestRedact_Base64FalsePositives(t *testing.T) {
	secrets := []auth.Secret{"abcd", "pass", "1234", "~~~~", "0000"}
	for i := range 2000 {
		text := fmt.Sprintf("https://registry.example.com/v2/acme/app/blobs/uploads/%x?digest=sha256:%x", i, sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
		if redacted := auth.Redact(text, secrets...); redacted != text && strings.Count(redacted, "***") != occurrences(text, secrets) {
			t.Errorf("Redact(%q) = %q", text, redacted)
		}
	}
}

// occurrences returns how often the secrets occur unencoded in a text.
func occurrences(text string, secrets []auth.Secret) (n int) {
	for _, secret := range secrets {
		n += strings.Count(text, secret.Reveal())
	}
	return n
}
