package auth_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

func TestRedact_Escapes(t *testing.T) {
	for secret, texts := range map[auth.Secret][]string{
		"p/w d+?=&é": {
			"p/w d+?=&é", "p%2Fw+d%2B%3F%3D%26%C3%A9", "p%2Fw%20d+%3F=&%C3%A9", "p%2fw+d%2b%3f%3d%26%c3%a9", // URLs
			"p/w d+?=&amp;é", "p&#47;w&#32;d&plus;?&equals;&#x26;&eacute;", // HTML
			base64Of("p/w d+?=&é"), base64.RawURLEncoding.EncodeToString([]byte("p/w d+?=&é")),
		},
		"Pa!s/word#x9": {"Pa!s%2Fword%23x9", "Pa%21s/word%23x9", `Pa!s\/word#x9`, `\x50a!s\u002Fword#x9`},
		`Ulf's"tea9`:   {"Ulf&#x27;s&quot;tea9", "Ulf&apos;s&#34;tea9", "Ulf's%22tea9", `Ulf's\"tea9`, `Ulf\'s\"tea9`, `Ulf\u0027s\u0022tea9`},
		`a<b"cdefg`:    {`a<b\"cdefg`, `a\u003cb\"cdefg`, "a&lt;b&quot;cdefg", "a&LT;b&#0034;cdefg"},
		"pässwort9":    {`p\u00e4sswort9`, `p\u00E4sswort9`, `p\xc3\xa4sswort9`, `p\303\244sswort9`, "p%c3%A4sswort9", "p&auml;sswort9"},
		"smile😀9":      {`smile\ud83d\ude009`, "smile%F0%9F%98%809", "smile&#128512;9"},
		// In a host or a media type.
		"Pa55-Word": {"pa55-word", "PA55-WORD", "pa55%2dword"},
		// Nested escapes.
		"a&b/cd": {`a\u0026amp;b\/cd`, "a%26amp%3Bb%2Fcd", "a%2526b%252Fcd", `a\\u0026b\\/cd`, "a&amp;amp;b&#x26;#47;cd"},
		// Secrets that contain escapes.
		"ab%2Bcd&e":     {"ab%2Bcd&e", "ab%2Bcd&amp;e", "ab%252Bcd%26e", `ab%2Bcd\u0026e`},
		`C:\new\"dir`:   {`C:\new\"dir`, `C:\\new\\\"dir`, `C:%5Cnew%5C%22dir`, `C:\new\&quot;dir`},
		"x&lt;y%zz\\":   {"x&lt;y%zz\\", "x&amp;lt;y%zz\\", "x%26lt%3By%25zz%5C", `x&lt;y%zz\\`},
		"line 1\nline2": {`line 1\nline2`, "line+1%0Aline2", "line 1&#10;line2", "line 1\nline2"},
	} {
		for _, text := range texts {
			if got := auth.Redact("said ["+text+"]", secret); strings.Trim(got, "=]\\") != "said [***" {
				t.Errorf("Redact(%q) of the secret %q = %q", text, secret.Reveal(), got)
			}
		}
	}
}

func TestRedact_OtherText(t *testing.T) {
	for _, text := range []string{
		"", "an apple a day", "100 % sure & certain + \\o/", `{"a":"\u00e4\ud83d\q\"}`, "%zz%2&amp;&unknown;&#xffffffffffff;%", "application/vnd.oci.image.index.v1+json",
		strings.Repeat("%25", 1000), // deeply nested escapes
	} {
		if got := auth.Redact(text, "a", "", "day", "secret", "%41%42"); got != text {
			t.Errorf("Redact(%q) = %q, want it unchanged", text, got)
		}
	}
	if got, want := auth.Redact("100%25 of pass%2Fword, pass/word&#x3b; and password", "pass/word"), "100%25 of ***, ***&#x3b; and password"; got != want {
		t.Errorf("Redact() = %q, want %q", got, want)
	}
	if got, want := auth.Redact("secretary", "secret", "retary"), "***"; got != want {
		t.Errorf("Redact() of overlapping secrets = %q, want %q", got, want)
	}
}

func TestRedact_BasicAuth(t *testing.T) {
	c := auth.Credential{Username: "deploy", Password: "~~~???~~~"}
	pair := []byte("deploy:~~~???~~~")
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if sent := encoding.EncodeToString(pair); strings.Trim(auth.Redact(sent, c.Secrets()...), "=") != "***" {
			t.Errorf("Redact(%q) = %q, want ***", sent, auth.Redact(sent, c.Secrets()...))
		}
	}
}

// A login may consist of only a personal access token.
func TestCredentialSecrets_Username(t *testing.T) {
	for name, c := range map[string]struct {
		auth.Credential
		want string
	}{
		"username_only":       {auth.Credential{Username: "token-4711"}, "*** has expired"},
		"with_password":       {auth.Credential{Username: "token-4711", Password: password}, "token-4711 has expired"},
		"with_identity_token": {auth.Credential{Username: "token-4711", IdentityToken: identityToken}, "token-4711 has expired"},
		"with_registry_token": {auth.Credential{Username: "token-4711", RegistryToken: registryToken}, "token-4711 has expired"},
	} {
		if got := auth.Redact("token-4711 has expired", c.Secrets()...); got != c.want {
			t.Errorf("%s: Redact() = %q, want %q", name, got, c.want)
		}
	}
}
