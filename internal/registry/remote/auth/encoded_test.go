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

// A secret inside of larger text that was encoded is at one of three alignments, with any number of bytes
// around it.
func TestMask_EncodedAtEveryAlignment(t *testing.T) {
	for name, encoding := range base64Encodings {
		t.Run(name, func(t *testing.T) {
			for _, secret := range []string{"s3cr", "s3cr3", "s3cr3t", "~~~???~~~", "p/w d+?=&é", "Pa55-Word/of+some>length?"} {
				for before := range 7 {
					for after := range 7 {
						whole := encoding.EncodeToString([]byte("0123456"[:before] + secret + "6543210"[:after]))
						// The characters that hold no bit of the secret.
						head, tail := whole[:before*8/6], whole[((before+len(secret))*8+5)/6:]
						for glued := range 4 { // characters that look like base64 and are not
							text, want := "a "+"key"[:glued]+whole+" b", "a "+"key"[:glued]+head+"***"+tail+" b"
							if got := auth.Redact(text, auth.Secret(secret)); got != want {
								t.Errorf("Mask(%q) = %q, want %q", text, got, want)
							}
						}
					}
				}
			}
		})
	}
}

// What a credential is sent as is found in what is made of it: in a header or a file that is encoded as a whole,
// encoded twice, glued to other text, or escaped afterwards.
func TestMask_EncodedCredential(t *testing.T) {
	c := auth.Credential{Username: "ci", Password: "abc"} // too short to be looked for alone
	long := auth.Credential{Username: "deploy", Password: "~~~???~~~"}
	for _, credential := range []auth.Credential{c, long} {
		pair := credential.Username + ":" + credential.Password.Reveal()
		for name, encoding := range base64Encodings {
			encoded := encoding.EncodeToString([]byte(pair))
			core := strings.TrimRight(encoded, "=")
			for what, text := range map[string]string{
				"a header":         "Authorization: Basic " + encoded,
				"a header, hidden": encoding.EncodeToString([]byte("Authorization: Basic " + encoded)),
				"a file":           encoding.EncodeToString([]byte(`{"auths":{"ghcr.io":{"auth":"` + encoded + `"}}}`)),
				"a larger pair":    encoding.EncodeToString([]byte("x" + pair + "\n")),
				"glued":            "token" + encoded,
				"escaped":          url.QueryEscape("a/" + encoded),
			} {
				got := auth.Redact(text, credential.Secrets()...)
				if !strings.Contains(got, "***") || strings.Contains(got, core[2:len(core)-2]) {
					t.Errorf("%s of %q in %s is shown as %q", what, pair, name, got)
				}
				for _, again := range base64Encodings {
					for shift := range 4 {
						decoded, _ := again.DecodeString(got[min(shift, len(got)):])
						if strings.Contains(string(decoded), pair) || strings.Contains(string(decoded), encoded) {
							t.Errorf("%s of %q in %s is shown as %q, which decodes to %q", what, pair, name, got, decoded)
						}
					}
				}
			}
		}
	}
}

// Short secrets of ordinary characters are not found by chance in digests and URLs.
func TestMask_EncodedByChance(t *testing.T) {
	secrets := []auth.Secret{"abcd", "pass", "1234", "~~~~", "0000"}
	for i := range 2000 {
		text := fmt.Sprintf("https://registry.example.com/v2/acme/app/blobs/uploads/%x?digest=sha256:%x", i, sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
		if masked := auth.Redact(text, secrets...); masked != text && strings.Count(masked, "***") != occurrences(text, secrets) {
			t.Errorf("Mask(%q) = %q", text, masked)
		}
	}
}

// occurrences counts the secrets in a text as they are.
func occurrences(text string, secrets []auth.Secret) (n int) {
	for _, secret := range secrets {
		n += strings.Count(text, secret.Reveal())
	}
	return n
}
