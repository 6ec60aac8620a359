package registry_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestValidateDigest(t *testing.T) {
	for _, d := range []digest.Digest{sum256, sum384, sum512} {
		if err := registry.ValidateDigest(d); err != nil {
			t.Errorf("ValidateDigest(%s) error = %v", d, err)
		}
	}
	for d, why := range map[string]string{
		"":                              "it is empty",
		"latest":                        "names no algorithm",
		"sha256:":                       "here there are 0 characters",
		"sha256:abc":                    "sha256 has 64 hexadecimal digits, and here there are 3",
		strings.ToUpper(string(sum256)): "not supported",
		"sha256:" + strings.ToUpper(sum256.Encoded()): "not in lower case",
		"sha256:" + strings.Repeat("z", 64):           "no hexadecimal digits",
		"sha256:" + sum512.Encoded():                  "here there are 128",
		"sha256:../../x":                              "here there are 7",
		"sha256%3A" + sum256.Encoded():                "names no algorithm",
		" " + string(sum256):                          "not supported",
		string(sum256) + "\n":                         "here there are 65",
		"md5:" + strings.Repeat("a", 32):              `"md5" is not supported; sha256, sha384 and sha512 are`,
		"sha1:" + strings.Repeat("a", 40):             `"sha1" is not supported`,
		"\x1b[31m:" + strings.Repeat("a", 64):         `"[31m" is not supported`,
	} {
		err := registry.ValidateDigest(digest.Digest(d))
		assertError(t, err, registry.ErrInvalidReference, "cannot read the digest", registry.Sanitize(d), why)
	}
}

func TestSameDigest(t *testing.T) {
	other := digest.SHA256.FromString("another image")
	for _, test := range []struct {
		a, b digest.Digest
		same bool
	}{
		{sum256, sum256, true},
		{sum256, other, false},
		{sum256, sum512, true},
		{sum512, other, true},
	} {
		if registry.SameDigest(test.a, test.b) != test.same || registry.SameDigest(test.b, test.a) != test.same {
			t.Errorf("SameDigest(%s, %s) = %t, want %t", test.a, test.b, !test.same, test.same)
		}
	}
}
