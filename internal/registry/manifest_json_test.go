package registry_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestManifestParse_FieldsOfAnotherKind(t *testing.T) {
	manifests := `"manifests":[` + child + `]`
	layers := `"layers":[` + layer + `]`
	fsLayers := fmt.Sprintf(`"fsLayers":[{"blobSum":%q}]`, sum256)
	for _, test := range []struct {
		mediaType, fields, why string
	}{
		{ociIndex, manifests + "," + layers, "it is an index by its media type and has the fields of an image"},
		{ociIndex, manifests + `,"config":` + config, "an index by its media type and has the fields of an image"},
		{dockerList, manifests + `,"blobs":[]`, "an index by its media type and has the fields of an image"},
		{ociIndex, layers, "an index by its media type and has the fields of an image"},
		{ociIndex, fsLayers, "an index by its media type and has the fields of a schema 1 image"},
		{ociImage, layers + "," + manifests, "an image by its media type and has the fields of an index"},
		{dockerImage, manifests, "an image by its media type and has the fields of an index"},
		{ociArtifact, `"blobs":[],` + manifests, "an image by its media type and has the fields of an index"},
		{ociImage, layers + "," + fsLayers, "an image by its media type and has the fields of a schema 1 image"},
		{dockerImage, fsLayers, "an image by its media type and has the fields of a schema 1 image"},
		{dockerSchema1, fsLayers + "," + layers, "a schema 1 image by its media type and has the fields of an image"},
		{dockerSchema1JWS, layers, "a schema 1 image by its media type and has the fields of an image"},
		{dockerSchema1JWS, fsLayers + "," + manifests, "a schema 1 image by its media type and has the fields of an index"},
		{unknownType, manifests + "," + layers, "the fields of an index and of an image"},
		{unknownType, layers + "," + fsLayers, "the fields of an image and of a schema 1 image"},
		{unknownType, manifests + "," + fsLayers, "the fields of an index and of a schema 1 image"},
	} {
		m := newManifest(t, test.mediaType, "{"+test.fields+"}")
		_, err := m.Parse()
		assertError(t, err, registry.ErrInvalidManifest, m.Digest.String(), test.why, "clients disagree")
	}
}

func TestManifestParse_NullFields(t *testing.T) {
	for _, field := range []string{`"manifests":`, `"layers":`, `"blobs":`, `"fsLayers":`, `"config":`} {
		mediaType, empty := ociImage, "[]"
		switch field {
		case `"layers":`, `"blobs":`:
			mediaType = ociIndex
		case `"config":`:
			mediaType, empty = ociIndex, config
		}
		_, err := newManifest(t, mediaType, `{"schemaVersion":2,`+field+empty+`}`).Parse()
		assertError(t, err, registry.ErrInvalidManifest, "has the fields of")
		if _, err := newManifest(t, mediaType, `{"schemaVersion":2,`+field+`null}`).Parse(); err != nil {
			t.Errorf("Parse() of %s with %snull error = %v", mediaType, field, err)
		}
	}
	contents, err := newManifest(t, ociIndex, `{"manifests":null,"subject":null,"annotations":null,"mediaType":null,"artifactType":null}`).Parse()
	if err != nil || !reflect.DeepEqual(contents, registry.Contents{}) {
		t.Errorf("Parse() of null fields = %+v, %v; want no contents", contents, err)
	}
}

func TestManifestParse_MediaType(t *testing.T) {
	for _, test := range []struct{ contentType, mediaType string }{
		{ociImage, ociImage},
		{ociImage + "; charset=utf-8", ociImage},
		{ociImage + ";charset", ociImage},
		{strings.ToUpper(ociImage), ociImage},
		{unknownType, unknownType},
		{ociImage, ""},
	} {
		if _, err := newManifest(t, test.contentType, fmt.Sprintf(`{"mediaType":%q}`, test.mediaType)).Parse(); err != nil {
			t.Errorf("Parse() of %q received as %q error = %v", test.mediaType, test.contentType, err)
		}
	}
	for _, test := range []struct{ contentType, mediaType string }{
		{ociImage, ociIndex},
		{ociIndex, ociImage},
		{dockerImage, ociImage},
		{ociImage, ociImage + "; charset=utf-8"},
		{ociImage, " " + ociImage + " x"},
		{ociImage, "nonsense"},
		{"application/json", ociImage},
	} {
		_, err := newManifest(t, test.contentType, fmt.Sprintf(`{"mediaType":%q}`, test.mediaType)).Parse()
		assertError(t, err, registry.ErrInvalidManifest, fmt.Sprintf("it says it is %q and was received as %q", strings.TrimSpace(test.mediaType), test.contentType))
	}
}

func TestManifestParse_AmbiguousKeys(t *testing.T) {
	inIndex := func(member string) string {
		return fmt.Sprintf(`{"manifests":[{"mediaType":%q,"digest":%q,"size":8,%s}]}`, ociImage, sum256, member)
	}
	for name, test := range map[string]struct{ mediaType, content, why string }{
		"duplicate":                  {ociIndex, `{"manifests":[],"manifests":[` + child + `]}`, `duplicate object member name "manifests"`},
		"duplicate_escaped":          {ociIndex, `{"manifests":[],"\u006danifests":[` + child + `]}`, "duplicate object member name"},
		"duplicate_in_descriptor":    {ociIndex, inIndex(`"size":9`), `duplicate object member name "size"`},
		"duplicate_in_annotations":   {ociImage, `{"annotations":{"a":"1","a":"2"}}`, `duplicate object member name "a"`},
		"duplicate_in_unknown_field": {ociImage, `{"x":{"y":[{"z":1,"z":2}]}}`, `duplicate object member name "z"`},
		"case_variant":               {ociIndex, `{"Manifests":[` + child + `]}`, `the key "Manifests", which some clients take for "manifests"`},
		"case_variant_and_known_key": {ociImage, `{"config":` + config + `,"CONFIG":` + layer + `}`, `the key "CONFIG"`},
		"mediatype":                  {ociImage, `{"mediatype":"x/y"}`, `the key "mediatype", which some clients take for "mediaType"`},
		"signatures":                 {dockerSchema1JWS, `{"fsLayers":[],"Signatures":[]}`, `the key "Signatures"`},
		"unicode_case_folding":       {ociImage, `{"layer\u017f":[]}`, `which some clients take for "layers"`},
		"in_descriptor":              {ociIndex, inIndex(`"Digest":"` + sum512.String() + `"`), `manifests[0] ("` + sum256.String() + `"): it has the key "Digest"`},
		"in_configuration":           {ociImage, `{"config":{"digest":"` + sum256.String() + `","size":8,"SIZE":9}}`, `config ("` + sum256.String() + `"): it has the key "SIZE"`},
		"in_subject":                 {ociImage, `{"subject":{"digest":"` + sum256.String() + `","size":8,"mediaTYPE":"x/y"}}`, `subject ("` + sum256.String() + `"): it has the key "mediaTYPE"`},
		"in_platform":                {ociIndex, inIndex(`"platform":{"os":"linux","Architecture":"arm64"}`), `the key "Architecture"`},
		"in_platform_with_known_key": {ociIndex, inIndex(`"platform":{"os":"linux","OS":"windows"}`), `the key "OS"`},
		"in_schema1_layer":           {dockerSchema1, fmt.Sprintf(`{"fsLayers":[{"blobSum":%q},{"blobsum":%q}]}`, sum256, sum256), `fsLayers[1] (""): it has the key "blobsum"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newManifest(t, test.mediaType, test.content).Parse()
			assertError(t, err, registry.ErrInvalidManifest, test.why)
		})
	}
}

func TestManifestParse_KnownKeysInUnknownFields(t *testing.T) {
	content := `{"a":"Layers","b":{"Config":1,"LAYERS":{}},"c":["Manifests",{"Subject":null}],"d":"config"}`
	if _, err := newManifest(t, ociImage, content).Parse(); err != nil {
		t.Error(err)
	}
}

func TestManifestParse_InvalidJSON(t *testing.T) {
	deep := strings.Repeat("[", 100_000)
	for name, test := range map[string]struct{ content, why string }{
		"empty":                {"", "not a JSON object"},
		"whitespace":           {" \r\n\t", "not a JSON object"},
		"null":                 {"null", "not a JSON object"},
		"list":                 {"[]", "not a JSON object"},
		"string":               {`"manifest"`, "not a JSON object"},
		"number":               {"42", "not a JSON object"},
		"html":                 {"<!DOCTYPE html><html><body>sign in</body></html>", "not a JSON object"},
		"gzip":                 {"\x1f\x8b\x08\x00", "not a JSON object"},
		"byte_order_mark":      {"\ufeff{}", "not a JSON object"},
		"truncated_object":     {`{"layers":[`, "unexpected EOF"},
		"two_objects":          {`{}{}`, "not valid JSON"},
		"trailing_comma":       {`{"layers":[],}`, "not valid JSON"},
		"comment":              {`{/* */}`, "not valid JSON"},
		"invalid_utf_8":        {"{\"annotations\":{\"a\":\"\xff\"}}", "invalid UTF-8"},
		"invalid_utf_8_in_key": {"{\"\xc3\x28\":1}", "invalid UTF-8"},
		"lone_surrogate":       {`{"annotations":{"a":"\ud800"}}`, "invalid surrogate"},
		"deep_lists_truncated": {`{"x":` + deep, "exceeded max depth"},
		"deep_lists":           {`{"x":` + deep + strings.Repeat("]", 100_000) + `}`, "exceeded max depth"},
		"deep_objects":         {strings.Repeat(`{"layers":`, 100_000), "cannot be an object"},
		"deep_unknown_objects": {strings.Repeat(`{"x":`, 100_000), "exceeded max depth"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newManifest(t, unknownType, test.content)
			_, err := m.Parse()
			assertError(t, err, registry.ErrInvalidManifest, m.Digest.String(), "received as "+unknownType, test.why)
		})
	}
}

func TestManifestParse_WrongTypes(t *testing.T) {
	size := func(size string) string { return fmt.Sprintf(`{"layers":[{"digest":%q,"size":%s}]}`, sum256, size) }
	for name, test := range map[string]struct{ content, why string }{
		"size_with_fraction":   {size("8.5"), `"/layers/0/size" in it cannot be 8.5`},
		"size_with_exponent":   {size("1e3"), `"/layers/0/size"`},
		"size_over_64_bits":    {size("9223372036854775808"), `"/layers/0/size"`},
		"size_of_400_digits":   {size("1" + strings.Repeat("0", 400)), `"/layers/0/size"`},
		"size_as_string":       {size(`"8"`), `"/layers/0/size" in it cannot be a string`},
		"size_as_list":         {size(`[8]`), `"/layers/0/size"`},
		"layers_not_a_list":    {`{"layers":{}}`, `"/layers" in it cannot be an object`},
		"layer_not_an_object":  {`{"layers":["` + sum256.String() + `"]}`, `"/layers/0"`},
		"number_as_annotation": {`{"annotations":{"a":1}}`, `"/annotations/a"`},
		"data_not_base64":      {fmt.Sprintf(`{"config":{"digest":%q,"size":8,"data":"an image"}}`, sum256), `"/config/data"`},
		"list_as_media_type":   {`{"mediaType":[]}`, `"/mediaType"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newManifest(t, ociImage, test.content).Parse()
			assertError(t, err, registry.ErrInvalidManifest, "received as "+ociImage, test.why)
			if err != nil && strings.Contains(err.Error(), "wire") {
				t.Errorf("Parse() error = %v, which mentions Go types", err)
			}
		})
	}
}

func TestManifestParse_InvalidDescriptors(t *testing.T) {
	descriptor := func(d, size, more string) string { return fmt.Sprintf(`{"digest":%q,"size":%s%s}`, d, size, more) }
	valid := descriptor(sum256.String(), "8", "")
	for name, test := range map[string]struct {
		mediaType, content string
		kind               error
		why                string
	}{
		"layer_size": {ociImage, `{"layers":[` + valid + "," + descriptor(sum512.String(), "-1", "") + `]}`,
			registry.ErrInvalidManifest, `layers[1] ("` + sum512.String() + `"): its size is negative (-1)`},
		"child_without_size": {ociIndex, `{"manifests":[{"digest":"` + sum256.String() + `"}]}`,
			registry.ErrInvalidManifest, `manifests[0] ("` + sum256.String() + `"): a size of 0`},
		"blob_of_max_size": {ociArtifact, `{"blobs":[` + descriptor(sum256.String(), "9223372036854775807", "") + `]}`,
			registry.ErrLimit, `blobs[0] ("` + sum256.String() + `"): its size of 9223372036854775807`},
		"configuration_without_digest": {ociImage, `{"config":{}}`, registry.ErrInvalidManifest, `config (""): its digest is refused: it is empty`},
		"null_in_list":                 {ociImage, `{"layers":[null]}`, registry.ErrInvalidManifest, `layers[0] (""): its digest is refused`},
		"child_with_md5": {ociIndex, `{"manifests":[` + descriptor("md5:d41d8cd98f00b204e9800998ecf8427e", "8", "") + `]}`,
			registry.ErrInvalidManifest, `"md5" is not supported`},
		"path_as_digest": {ociImage, `{"layers":[` + descriptor("sha256:../../x", "8", "") + `]}`,
			registry.ErrInvalidManifest, `layers[0] ("sha256:../../x"): its digest is refused`},
		"control_codes_as_digest": {ociImage, `{"layers":[{"digest":"\u001b[2J\n::error::","size":1}]}`,
			registry.ErrInvalidManifest, `layers[0] ("[2J : :error::"): its digest is refused`},
		"inline_data_of_subject": {ociImage, `{"subject":` + descriptor(sum256.String(), "8", `,"data":"YW4gdW1hZ2U="`) + `}`,
			registry.ErrMismatch, `subject ("` + sum256.String() + `"): its inline data has the digest ` + digest.FromString("an umage").String()},
		"schema1_layer": {dockerSchema1, `{"fsLayers":[{"blobSum":"sha256:abc"}]}`,
			registry.ErrInvalidManifest, `fsLayers[0] ("sha256:abc"): sha256 has 64`},
	} {
		t.Run(name, func(t *testing.T) {
			m := newManifest(t, test.mediaType, test.content)
			contents, err := m.Parse()
			assertError(t, err, test.kind, "cannot read the manifest "+m.Digest.String(), test.why)
			if !reflect.DeepEqual(contents, registry.Contents{}) {
				t.Errorf("Parse() = %+v with an error, want no contents", contents)
			}
		})
	}
}

func TestManifestParse_TooManyEntries(t *testing.T) {
	const million, maxBytes = 1_000_000, 64 << 10
	list := func(entry string) string { return "[" + strings.Repeat(entry+",", million-1) + entry + "]" }
	members := func() string {
		var b strings.Builder
		for i := range million {
			fmt.Fprintf(&b, `"%d":"",`, i)
		}
		return "{" + b.String() + `"last":""}`
	}()
	for name, test := range map[string]struct{ mediaType, content, why string }{
		"index":           {ociIndex, `{"manifests":` + list("{}") + "}", "a list of more than 10000 entries"},
		"layers":          {ociImage, `{"config":` + config + `,"layers":` + list("null") + "}", "a list of more than 10000 entries"},
		"fslayers":        {unknownType, `{"fsLayers":` + list("{}") + "}", "a list of more than 10000 entries"},
		"urls":            {ociImage, `{"layers":[{"urls":` + list(`""`) + "}]}", "a list of more than 10000 entries"},
		"annotations":     {ociImage, `{"annotations":` + members + "}", "an object of more than 10000 members"},
		"unknown_members": {unknownType, members, "an object of more than 10000 members"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newManifest(t, test.mediaType, test.content)
			var err error
			if n := allocated(func() { _, err = m.Parse() }); n > maxBytes {
				t.Errorf("Parse() of %d bytes allocated %d bytes, want at most %d", len(test.content), n, maxBytes)
			}
			assertError(t, err, registry.ErrLimit, m.Digest.String(), test.why)
		})
	}
}

func TestManifestParse_ManySmallEntries(t *testing.T) {
	// Each list and object is within its own limit.
	many := func(n int, open, entry, closing string) string {
		one := open + strings.TrimSuffix(strings.Repeat(entry+",", 9_999), ",") + closing
		return `{"layers":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}`
	}
	_, err := newManifest(t, ociImage, many(60, `{"urls":[`, `""`, `]}`)).Parse()
	assertError(t, err, registry.ErrLimit, "more than 200000 names and values")

	var members strings.Builder
	for i := range 9_999 {
		fmt.Fprintf(&members, `"%d":0,`, i)
	}
	content := `{"layers":[` + strings.TrimSuffix(strings.Repeat(`{`+strings.TrimSuffix(members.String(), ",")+`},`, 9), ",") + `]}`
	m := newManifest(t, ociImage, content)
	if n := allocated(func() { _, err = m.Parse() }); n > uint64(30*len(content)) {
		t.Errorf("Parse() of %d bytes allocated %d bytes, want at most 30 times as much", len(content), n)
	}
	assertError(t, err, registry.ErrInvalidManifest, "layers[0]")
}

func TestManifestParse_MaxEntries(t *testing.T) {
	for entries, kind := range map[int]error{10_000: nil, 10_001: registry.ErrLimit} {
		contents, err := newManifest(t, ociIndex, `{"manifests":[`+strings.TrimSuffix(strings.Repeat(child+",", entries), ",")+`]}`).Parse()
		if kind != nil {
			assertError(t, err, kind)
		} else if err != nil || len(contents.Manifests) != entries {
			t.Errorf("Parse() returned %d manifests, %v; want %d", len(contents.Manifests), err, entries)
		}
	}
}

func FuzzManifestParse(f *testing.F) {
	for _, content := range []string{
		`{"config":` + config + `,"layers":[` + layer + `]}`,
		`{"manifests":[` + child + `],"annotations":{"a":"b"}}`,
		`{"blobs":[` + layer + `],"subject":` + child + `,"artifactType":"x/y"}`,
		fmt.Sprintf(`{"fsLayers":[{"blobSum":%q}]}`, sum256),
		fmt.Sprintf(`{"manifests":[{"digest":%q,"size":8,"data":"YW4gaW1hZ2U=","platform":{"os":"linux","os.version":"1","architecture":"arm"}}]}`, sum256),
		`{"signatures":[{"protected":"eyJmb3JtYXRMZW5ndGgiOjEsImZvcm1hdFRhaWwiOiJmUSJ9"}]}`,
		`{"manifests":[],"Layers":null}`, `{"layers":[null]}`, "null", "[]", "{", "\xff", `{"a":1,"a":2}`, strings.Repeat(`{"x":[`, 200),
	} {
		for i := range registry.ManifestMediaTypes() {
			f.Add(uint8(i), []byte(content))
		}
		f.Add(uint8(255), []byte(content))
	}
	f.Fuzz(func(t *testing.T, kind uint8, content []byte) {
		mediaType := unknownType
		if known := registry.ManifestMediaTypes(); int(kind) < len(known) {
			mediaType = known[kind]
		}
		before := string(content)
		m, err := registry.NewManifest(mediaType, content, "")
		if err != nil {
			assertError(t, err, err.(*registry.Error).Kind) //nolint:errorlint // a panic fails the test too
			return
		}
		contents, err := m.Parse()
		again, errAgain := m.Parse()
		if !reflect.DeepEqual(contents, again) || fmt.Sprint(err) != fmt.Sprint(errAgain) {
			t.Errorf("Parse() = %+v, %v; second Parse() = %+v, %v", contents, err, again, errAgain)
		}
		if string(m.Content) != before {
			t.Errorf("Parse() changed the content from %q to %q", before, m.Content)
		}
		switch {
		case err != nil:
			assertError(t, err, err.(*registry.Error).Kind, "cannot read the manifest") //nolint:errorlint // a panic fails the test too
		case !registry.IsSchema1(mediaType):
			assertMatchesEncodingJSON(t, content, contents)
		}
	})
}

// assertMatchesEncodingJSON checks that encoding/json, which most registries and
// runtimes use, decodes the same descriptors from content.
func assertMatchesEncodingJSON(t *testing.T, content []byte, contents registry.Contents) {
	t.Helper()
	var decoded struct {
		Subject, Config          *ocispec.Descriptor
		Layers, Blobs, Manifests []ocispec.Descriptor
		FSLayers                 []struct{ BlobSum digest.Digest }
	}
	if err := json.Unmarshal(content, &decoded); err != nil {
		t.Fatalf("Parse() accepts %q, and encoding/json does not: %v", content, err)
	}
	layers := slices.Concat(decoded.Layers, decoded.Blobs)
	for _, l := range decoded.FSLayers {
		layers = append(layers, ocispec.Descriptor{Digest: l.BlobSum, Size: registry.SizeUnknown})
	}
	got := []any{contents.Subject, contents.Config, contents.Layers, contents.Manifests}
	for i, want := range []any{decoded.Subject, decoded.Config, layers, decoded.Manifests} {
		if a, b := fmt.Sprintf("%+v", jsonOf(t, got[i])), fmt.Sprintf("%+v", jsonOf(t, want)); a != b {
			t.Errorf("Parse() of %q = %s\nencoding/json decodes %s", content, a, b)
		}
	}
}

// jsonOf encodes a descriptor or a list of descriptors, and an empty list as null.
func jsonOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) == "[]" {
		return "null"
	}
	return string(text)
}
