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

// schema1 is the payload of a schema 1 manifest, indented as Docker wrote it.
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

// sign signs a payload as Docker did, once for each of so many new keys.
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

func TestDigestOfASignedSchema1ManifestIsOverItsPayload(t *testing.T) {
	compact := fmt.Sprintf(`{"schemaVersion":1,"fsLayers":[{"blobSum":%q}]}`, sum256)
	for name, payload := range map[string]string{
		"indented": schema1, "in one line": compact, "with blanks at its end": schema1 + "\n", "with other letters": strings.Replace(schema1, "acme", "äcmé", 1),
	} {
		for _, keys := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, %d signatures", name, keys), func(t *testing.T) {
				content := sign(t, payload, keys)
				m := received(t, dockerSchema1JWS+"; charset=utf-8", content)
				if want := digest.FromString(payload); m.Digest != want {
					t.Errorf("its digest is %s, want the payload's, %s", m.Digest, want)
				}
				if m.MediaType != dockerSchema1JWS || string(m.Content) != content {
					t.Errorf("it became %s of %d bytes, want all %d with the signatures", m.MediaType, len(m.Content), len(content))
				}
				contents, err := m.Parse()
				if err != nil || len(contents.Layers) != 1 || contents.Layers[0].Digest != sum256 {
					t.Errorf("its layers are %+v (%v)", contents.Layers, err)
				}
			})
		}
	}
}

func TestSigningAgainKeepsTheDigest(t *testing.T) {
	a, b := sign(t, schema1, 1), sign(t, schema1, 1)
	if a == b {
		t.Fatal("both signatures are the same, so that this shows nothing")
	}
	if a, b := received(t, dockerSchema1JWS, a), received(t, dockerSchema1JWS, b); a.Digest != b.Digest {
		t.Errorf("signed twice, its digests are %s and %s", a.Digest, b.Digest)
	}
}

func TestDigestOfAnUnsignedSchema1ManifestIsOverAllOfIt(t *testing.T) {
	for _, mediaType := range []string{dockerSchema1, dockerSchema1JWS} {
		for _, content := range []string{schema1, strings.Replace(schema1, "{", `{"signatures":[],`, 1), strings.Replace(schema1, "{", `{"signatures":null,`, 1)} {
			if m := received(t, mediaType, content); m.Digest != digest.FromString(content) {
				t.Errorf("the digest of %s is %s", content, m.Digest)
			}
		}
	}
}

func TestSignaturesMeanNothingInOtherManifests(t *testing.T) {
	content := sign(t, schema1, 1)
	if m := received(t, unknownType, content); m.Digest != digest.FromString(content) {
		t.Errorf("its digest is %s, want the one over all its bytes", m.Digest)
	}
}

// What is outside the payload is outside the digest, so that a registry can put
// there what it likes.
func TestParseOfASignedManifestReadsThePayloadAlone(t *testing.T) {
	content := sign(t, schema1, 1)
	evil := strings.Replace(content, `"signatures"`, fmt.Sprintf(`"layers":[{"digest":%q,"size":8}],"signatures"`, sum512), 1)
	if evil == content {
		t.Fatal("nothing was put into it")
	}
	m := received(t, dockerSchema1JWS, evil)
	if m.Digest != digest.FromString(schema1) {
		t.Fatalf("its digest is %s, want the payload's", m.Digest)
	}
	contents, err := m.Parse()
	if err != nil || len(contents.Blobs()) != 1 || contents.Layers[0].Digest != sum256 {
		t.Errorf("it names %+v (%v), want what the payload names", contents.Blobs(), err)
	}
}

func TestNewManifestRefusesSchema1WithoutAReadablePayload(t *testing.T) {
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
		"no JSON":                        {"<html>", registry.ErrInvalidManifest, "not a JSON object"},
		"null":                           {"null", registry.ErrInvalidManifest, "not a JSON object"},
		"signatures that are no list":    {`{"signatures":{}}`, registry.ErrInvalidManifest, `"/signatures" in it cannot be an object`},
		"a signature without a header":   {`{"signatures":[{}]}`, registry.ErrInvalidManifest, "protected header cannot be read: it is not a JSON object"},
		"signatures twice":               {`{"signatures":[],"signatures":[]}`, registry.ErrInvalidManifest, "duplicate"},
		"a header that is no base64url":  {`{"signatures":[{"protected":"+/+/"}]}`, registry.ErrInvalidManifest, "protected header is not base64url"},
		"a header that is no JSON":       {signed("formatLength"), registry.ErrInvalidManifest, "protected header cannot be read"},
		"a tail that is no base64url":    {signed(`{"formatLength":1,"formatTail":"+"}`), registry.ErrInvalidManifest, "formatTail is not base64url"},
		"no length":                      {signed(`{"formatTail":"fQ"}`), registry.ErrInvalidManifest, "formatLength of 0"},
		"a negative length":              {signed(header(-1, "}")), registry.ErrInvalidManifest, "formatLength of -1"},
		"a length beyond the manifest":   {signed(header(10_000, "}")), registry.ErrInvalidManifest, "formatLength of 10000"},
		"the largest length":             {signed(header("9223372036854775807", "}")), registry.ErrInvalidManifest, "formatLength of 9223372036854775807"},
		"a length beyond 64 bits":        {signed(header("9223372036854775808", "}")), registry.ErrInvalidManifest, `"/formatLength" in it cannot be`},
		"a length with a fraction":       {signed(header("1.5", "}")), registry.ErrInvalidManifest, `"/formatLength" in it cannot be 1.5`},
		"two lengths":                    {signed(`{"formatLength":1,"formatLength":2,"formatTail":"fQ"}`), registry.ErrInvalidManifest, "duplicate"},
		"signatures of different length": {signed(header(5, "}"), header(6, "}")), registry.ErrInvalidManifest, "different payloads"},
		"signatures of different tails":  {signed(header(5, "}"), header(5, "]")), registry.ErrInvalidManifest, "different payloads"},
		"a second one that is no JSON":   {signed(header(5, "}"), "x"), registry.ErrInvalidManifest, "different payloads"},
		"a million signatures": {`{"signatures":[` + strings.Repeat("{},", 999_999) + "{}]}",
			registry.ErrLimit, "a list of more than 10000"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := registry.NewManifest(dockerSchema1JWS, []byte(test.content), "")
			refused(t, err, test.kind, "cannot read the schema 1 manifest", test.why)
		})
	}
}

func TestParseRefusesAPayloadThatIsNoManifest(t *testing.T) {
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"formatLength":1,"formatTail":"XQ"}`))
	m := received(t, dockerSchema1JWS, `{"signatures":[{"protected":"`+header+`"}]}`)
	if want := digest.FromString("{]"); m.Digest != want {
		t.Errorf("its digest is %s, want that of %q", m.Digest, "{]")
	}
	_, err := m.Parse()
	refused(t, err, registry.ErrInvalidManifest, m.Digest.String(), "not valid JSON")
}

func TestParseOfAHandmadeSchema1ManifestNeedsItsPayload(t *testing.T) {
	_, err := registry.Manifest{MediaType: dockerSchema1JWS, Digest: sum256, Content: []byte(`{"signatures":[{}]}`)}.Parse()
	refused(t, err, registry.ErrInvalidManifest, "cannot read the manifest "+sum256.String(), "protected header")
}

func TestManySignaturesAreNotManyCopies(t *testing.T) {
	payload := `{"x":"` + strings.Repeat("x", 1<<20) + `"}`
	header := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"formatLength":%d,"formatTail":"fQ"}`, len(payload)-1))
	one := `{"protected":"` + header + `"}`
	content := []byte(payload[:len(payload)-1] + `,"signatures":[` + strings.TrimSuffix(strings.Repeat(one+",", 5000), ",") + `]}`)
	var m registry.Manifest
	var err error
	if n := allocated(func() { m, err = registry.NewManifest(dockerSchema1JWS, content, "") }); n > uint64(100*len(content)) {
		t.Errorf("%d bytes were allocated to find the payload in %d", n, len(content))
	}
	if err != nil || m.Digest != digest.FromString(payload) || !bytes.Equal(m.Content, content) {
		t.Errorf("its digest is %s (%v)", m.Digest, err)
	}
}
