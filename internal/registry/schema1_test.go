package registry_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/docker/libtrust"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// schema1 is the payload of a schema 1 manifest, indented like Docker does.
var schema1 = fmt.Sprintf(`{
   "schemaVersion": 1,
   "name": "acme/app",
   "tag": "1.4",
   "architecture": "amd64",
   "fsLayers": [
      {
         "blobSum": %q
      }
   ],
   "history": [
      {
         "v1Compatibility": "{\"id\":\"1\"}"
      }
   ]
}`, sum256)

// sign signs a payload like Docker does, with as many new keys as given.
func sign(t *testing.T, payload string, keys int) string {
	t.Helper()
	signature, err := libtrust.NewJSONSignature([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	for range keys {
		key, err := libtrust.GenerateECP256PrivateKey()
		if err != nil {
			t.Fatal(err)
		}
		if err := signature.Sign(key); err != nil {
			t.Fatal(err)
		}
	}
	signed, err := signature.PrettySignature("signatures")
	if err != nil {
		t.Fatal(err)
	}
	return string(signed)
}

func TestSchema1_SignedDigest(t *testing.T) {
	compact := fmt.Sprintf(`{"schemaVersion":1,"fsLayers":[{"blobSum":%q}]}`, sum256)
	for name, payload := range map[string]string{
		"indented": schema1, "compact": compact, "trailing_newline": schema1 + "\n", "non_ascii": strings.Replace(schema1, "acme", "äcmé", 1),
	} {
		for _, keys := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s_%d_signatures", name, keys), func(t *testing.T) {
				content := sign(t, payload, keys)
				m := newManifest(t, dockerSchema1JWS+"; charset=utf-8", content)
				if want := digest.FromString(payload); m.Digest != want {
					t.Errorf("Digest = %s, want %s of the payload", m.Digest, want)
				}
				if m.MediaType != dockerSchema1JWS || string(m.Content) != content {
					t.Errorf("NewManifest() = %s of %d bytes, want all %d bytes unchanged", m.MediaType, len(m.Content), len(content))
				}
				contents, err := m.Parse()
				if err != nil || len(contents.Layers) != 1 || contents.Layers[0].Digest != sum256 {
					t.Errorf("Parse() layers = %+v, %v", contents.Layers, err)
				}
			})
		}
	}
}

func TestSchema1_SignedAgain(t *testing.T) {
	a, b := sign(t, schema1, 1), sign(t, schema1, 1)
	if a == b {
		t.Fatal("both signatures are the same")
	}
	if a, b := newManifest(t, dockerSchema1JWS, a), newManifest(t, dockerSchema1JWS, b); a.Digest != b.Digest {
		t.Errorf("digests = %s and %s, want the same", a.Digest, b.Digest)
	}
}

func TestSchema1_UnsignedDigest(t *testing.T) {
	for _, mediaType := range []string{dockerSchema1, dockerSchema1JWS} {
		for _, content := range []string{schema1, strings.Replace(schema1, "{", `{"signatures":[],`, 1), strings.Replace(schema1, "{", `{"signatures":null,`, 1)} {
			if m := newManifest(t, mediaType, content); m.Digest != digest.FromString(content) {
				t.Errorf("Digest of %s = %s, want that of all bytes", content, m.Digest)
			}
		}
	}
}

func TestSchema1_OtherMediaType(t *testing.T) {
	content := sign(t, schema1, 1)
	if m := newManifest(t, unknownType, content); m.Digest != digest.FromString(content) {
		t.Errorf("Digest = %s, want that of all bytes", m.Digest)
	}
}

// The digest does not cover fields outside of the payload, so a registry can change
// them.
func TestSchema1_ParsesOnlyPayload(t *testing.T) {
	content := sign(t, schema1, 1)
	tampered := strings.Replace(content, `"signatures"`, fmt.Sprintf(`"layers":[{"digest":%q,"size":8}],"signatures"`, sum512), 1)
	if tampered == content {
		t.Fatal("the manifest was not changed")
	}
	m := newManifest(t, dockerSchema1JWS, tampered)
	if m.Digest != digest.FromString(schema1) {
		t.Fatalf("Digest = %s, want that of the payload", m.Digest)
	}
	contents, err := m.Parse()
	if err != nil || len(contents.Blobs()) != 1 || contents.Layers[0].Digest != sum256 {
		t.Errorf("Parse() blobs = %+v, %v; want those of the payload", contents.Blobs(), err)
	}
}

func TestSchema1_InvalidSignatures(t *testing.T) {
	signed := func(headers ...string) string {
		var b strings.Builder
		for _, header := range headers {
			fmt.Fprintf(&b, `,{"protected":%q}`, base64.RawURLEncoding.EncodeToString([]byte(header)))
		}
		return `{"fsLayers":[],"signatures":[` + strings.TrimPrefix(b.String(), ",") + `]}`
	}
	header := func(length any, tail string) string {
		return fmt.Sprintf(`{"formatLength":%v,"formatTail":%q}`, length, base64.RawURLEncoding.EncodeToString([]byte(tail)))
	}
	for name, test := range map[string]struct {
		content string
		kind    error
		why     string
	}{
		"not_json":                 {"<html>", registry.ErrInvalidManifest, "not a JSON object"},
		"null":                     {"null", registry.ErrInvalidManifest, "not a JSON object"},
		"signatures_not_a_list":    {`{"signatures":{}}`, registry.ErrInvalidManifest, `"/signatures" in it cannot be an object`},
		"signature_without_header": {`{"signatures":[{}]}`, registry.ErrInvalidManifest, "protected header cannot be read: it is not a JSON object"},
		"duplicate_signatures":     {`{"signatures":[],"signatures":[]}`, registry.ErrInvalidManifest, "duplicate"},
		"header_not_base64url":     {`{"signatures":[{"protected":"+/+/"}]}`, registry.ErrInvalidManifest, "protected header is not base64url"},
		"header_not_json":          {signed("formatLength"), registry.ErrInvalidManifest, "protected header cannot be read"},
		"tail_not_base64url":       {signed(`{"formatLength":1,"formatTail":"+"}`), registry.ErrInvalidManifest, "formatTail is not base64url"},
		"no_length":                {signed(`{"formatTail":"fQ"}`), registry.ErrInvalidManifest, "formatLength of 0"},
		"negative_length":          {signed(header(-1, "}")), registry.ErrInvalidManifest, "formatLength of -1"},
		"length_beyond_manifest":   {signed(header(10_000, "}")), registry.ErrInvalidManifest, "formatLength of 10000"},
		"max_length":               {signed(header("9223372036854775807", "}")), registry.ErrInvalidManifest, "formatLength of 9223372036854775807"},
		"length_over_64_bits":      {signed(header("9223372036854775808", "}")), registry.ErrInvalidManifest, `"/formatLength" in it cannot be`},
		"length_with_fraction":     {signed(header("1.5", "}")), registry.ErrInvalidManifest, `"/formatLength" in it cannot be 1.5`},
		"duplicate_length":         {signed(`{"formatLength":1,"formatLength":2,"formatTail":"fQ"}`), registry.ErrInvalidManifest, "duplicate"},
		"different_lengths":        {signed(header(5, "}"), header(6, "}")), registry.ErrInvalidManifest, "different payloads"},
		"different_tails":          {signed(header(5, "}"), header(5, "]")), registry.ErrInvalidManifest, "different payloads"},
		"second_header_not_json":   {signed(header(5, "}"), "x"), registry.ErrInvalidManifest, "different payloads"},
		"million_signatures": {`{"signatures":[` + strings.Repeat("{},", 999_999) + "{}]}",
			registry.ErrLimit, "a list of more than 10000"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := registry.NewManifest(dockerSchema1JWS, []byte(test.content), "")
			assertError(t, err, test.kind, "cannot read the schema 1 manifest", test.why)
		})
	}
}

func TestSchema1_InvalidPayload(t *testing.T) {
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"formatLength":1,"formatTail":"XQ"}`))
	m := newManifest(t, dockerSchema1JWS, `{"signatures":[{"protected":"`+header+`"}]}`)
	if want := digest.FromString("{]"); m.Digest != want {
		t.Errorf("Digest = %s, want that of %q", m.Digest, "{]")
	}
	_, err := m.Parse()
	assertError(t, err, registry.ErrInvalidManifest, m.Digest.String(), "not valid JSON")
}

func TestSchema1_MissingPayload(t *testing.T) {
	_, err := registry.Manifest{MediaType: dockerSchema1JWS, Digest: sum256, Content: []byte(`{"signatures":[{}]}`)}.Parse()
	assertError(t, err, registry.ErrInvalidManifest, "cannot read the manifest "+sum256.String(), "protected header")
}

func TestSchema1_ManySignatures(t *testing.T) {
	payload := `{"x":"` + strings.Repeat("x", 1<<20) + `"}`
	header := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"formatLength":%d,"formatTail":"fQ"}`, len(payload)-1))
	one := `{"protected":"` + header + `"}`
	content := []byte(payload[:len(payload)-1] + `,"signatures":[` + strings.TrimSuffix(strings.Repeat(one+",", 5000), ",") + `]}`)
	var m registry.Manifest
	var err error
	if n := allocated(func() { m, err = registry.NewManifest(dockerSchema1JWS, content, "") }); n > uint64(100*len(content)) {
		t.Errorf("NewManifest() of %d bytes allocated %d bytes, want at most 100 times as much", len(content), n)
	}
	if err != nil || m.Digest != digest.FromString(payload) || !bytes.Equal(m.Content, content) {
		t.Errorf("NewManifest() digest = %s, error = %v", m.Digest, err)
	}
}
