package registry_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const unknownType = "application/vnd.acme.thing+json"

func TestParseRefusesTheFieldsOfAnotherKind(t *testing.T) {
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
		m := received(t, test.mediaType, "{"+test.fields+"}")
		_, err := m.Parse()
		refused(t, err, registry.ErrInvalidManifest, m.Digest.String(), test.why, "clients disagree")
	}
}

func TestAnEmptyListIsAFieldAndNullIsNone(t *testing.T) {
	for _, field := range []string{`"manifests":`, `"layers":`, `"blobs":`, `"fsLayers":`, `"config":`} {
		mediaType, empty := ociImage, "[]"
		switch field {
		case `"layers":`, `"blobs":`:
			mediaType = ociIndex
		case `"config":`:
			mediaType, empty = ociIndex, config
		}
		_, err := received(t, mediaType, `{"schemaVersion":2,`+field+empty+`}`).Parse()
		refused(t, err, registry.ErrInvalidManifest, "has the fields of")
		if _, err := received(t, mediaType, `{"schemaVersion":2,`+field+`null}`).Parse(); err != nil {
			t.Errorf("%snull in %s: %v", field, mediaType, err)
		}
	}
	contents, err := received(t, ociIndex, `{"manifests":null,"subject":null,"annotations":null,"mediaType":null,"artifactType":null}`).Parse()
	if err != nil || !reflect.DeepEqual(contents, registry.Contents{}) {
		t.Errorf("a manifest of nulls names %+v (%v)", contents, err)
	}
}

func TestParseHoldsMediaTypeAgainstContentType(t *testing.T) {
	for _, test := range []struct{ contentType, says string }{
		{ociImage, ociImage},
		{ociImage + "; charset=utf-8", ociImage},
		{ociImage + ";charset", ociImage},
		{strings.ToUpper(ociImage), ociImage},
		{unknownType, unknownType},
		{ociImage, ""},
	} {
		if _, err := received(t, test.contentType, fmt.Sprintf(`{"mediaType":%q}`, test.says)).Parse(); err != nil {
			t.Errorf("%q as %q: %v", test.says, test.contentType, err)
		}
	}
	for _, test := range []struct{ contentType, says string }{
		{ociImage, ociIndex},
		{ociIndex, ociImage},
		{dockerImage, ociImage},
		{ociImage, ociImage + "; charset=utf-8"},
		{ociImage, " " + ociImage + " x"},
		{ociImage, "nonsense"},
		{"application/json", ociImage},
	} {
		_, err := received(t, test.contentType, fmt.Sprintf(`{"mediaType":%q}`, test.says)).Parse()
		refused(t, err, registry.ErrInvalidManifest, fmt.Sprintf("it says it is %q and was received as %q", strings.TrimSpace(test.says), test.contentType))
	}
}

func TestParseRefusesKeysThatTwoReadersTakeForTwoThings(t *testing.T) {
	inIndex := func(member string) string {
		return fmt.Sprintf(`{"manifests":[{"mediaType":%q,"digest":%q,"size":8,%s}]}`, ociImage, sum256, member)
	}
	for name, test := range map[string]struct{ mediaType, content, why string }{
		"twice":                          {ociIndex, `{"manifests":[],"manifests":[` + child + `]}`, `duplicate object member name "manifests"`},
		"twice, once escaped":            {ociIndex, `{"manifests":[],"\u006danifests":[` + child + `]}`, "duplicate object member name"},
		"twice in a descriptor":          {ociIndex, inIndex(`"size":9`), `duplicate object member name "size"`},
		"twice in annotations":           {ociImage, `{"annotations":{"a":"1","a":"2"}}`, `duplicate object member name "a"`},
		"twice in what nobody knows":     {ociImage, `{"x":{"y":[{"z":1,"z":2}]}}`, `duplicate object member name "z"`},
		"in another case":                {ociIndex, `{"Manifests":[` + child + `]}`, `the key "Manifests", which some clients take for "manifests"`},
		"in another case beside its own": {ociImage, `{"config":` + config + `,"CONFIG":` + layer + `}`, `the key "CONFIG"`},
		"mediatype":                      {ociImage, `{"mediatype":"x/y"}`, `the key "mediatype", which some clients take for "mediaType"`},
		"signatures":                     {dockerSchema1JWS, `{"fsLayers":[],"Signatures":[]}`, `the key "Signatures"`},
		"with a letter that folds to s":  {ociImage, `{"layer\u017f":[]}`, `which some clients take for "layers"`},
		"in a descriptor":                {ociIndex, inIndex(`"Digest":"` + sum512.String() + `"`), `manifests[0] ("` + sum256.String() + `"): it has the key "Digest"`},
		"in a configuration":             {ociImage, `{"config":{"digest":"` + sum256.String() + `","size":8,"SIZE":9}}`, `config ("` + sum256.String() + `"): it has the key "SIZE"`},
		"in a subject":                   {ociImage, `{"subject":{"digest":"` + sum256.String() + `","size":8,"mediaTYPE":"x/y"}}`, `subject ("` + sum256.String() + `"): it has the key "mediaTYPE"`},
		"in a platform":                  {ociIndex, inIndex(`"platform":{"os":"linux","Architecture":"arm64"}`), `the key "Architecture"`},
		"in a platform beside its own":   {ociIndex, inIndex(`"platform":{"os":"linux","OS":"windows"}`), `the key "OS"`},
		"in a layer of a schema 1 image": {dockerSchema1, fmt.Sprintf(`{"fsLayers":[{"blobSum":%q},{"blobsum":%q}]}`, sum256, sum256), `fsLayers[1] (""): it has the key "blobsum"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := received(t, test.mediaType, test.content).Parse()
			refused(t, err, registry.ErrInvalidManifest, test.why)
		})
	}
}

func TestParseTakesKnownKeysInTheValuesOfUnknownOnes(t *testing.T) {
	content := `{"a":"Layers","b":{"Config":1,"LAYERS":{}},"c":["Manifests",{"Subject":null}],"d":"config"}`
	if _, err := received(t, ociImage, content).Parse(); err != nil {
		t.Error(err)
	}
}

func TestParseRefusesWhatIsNoJSONObject(t *testing.T) {
	deep := strings.Repeat("[", 100_000)
	for name, test := range map[string]struct{ content, why string }{
		"nothing":                {"", "not a JSON object"},
		"blanks":                 {" \r\n\t", "not a JSON object"},
		"null":                   {"null", "not a JSON object"},
		"a list":                 {"[]", "not a JSON object"},
		"a text":                 {`"manifest"`, "not a JSON object"},
		"a number":               {"42", "not a JSON object"},
		"HTML":                   {"<!DOCTYPE html><html><body>sign in</body></html>", "not a JSON object"},
		"gzip":                   {"\x1f\x8b\x08\x00", "not a JSON object"},
		"a byte order mark":      {"\ufeff{}", "not a JSON object"},
		"half an object":         {`{"layers":[`, "unexpected EOF"},
		"two objects":            {`{}{}`, "not valid JSON"},
		"a comma too many":       {`{"layers":[],}`, "not valid JSON"},
		"a comment":              {`{/* */}`, "not valid JSON"},
		"invalid UTF-8":          {"{\"annotations\":{\"a\":\"\xff\"}}", "invalid UTF-8"},
		"invalid UTF-8 in a key": {"{\"\xc3\x28\":1}", "invalid UTF-8"},
		"half a surrogate":       {`{"annotations":{"a":"\ud800"}}`, "invalid surrogate"},
		"deep lists":             {`{"x":` + deep, "exceeded max depth"},
		"deep lists, closed":     {`{"x":` + deep + strings.Repeat("]", 100_000) + `}`, "exceeded max depth"},
		"deep objects":           {strings.Repeat(`{"layers":`, 100_000), "cannot be an object"},
		"deep objects, unknown":  {strings.Repeat(`{"x":`, 100_000), "exceeded max depth"},
	} {
		t.Run(name, func(t *testing.T) {
			m := received(t, unknownType, test.content)
			_, err := m.Parse()
			refused(t, err, registry.ErrInvalidManifest, m.Digest.String(), "received as "+unknownType, test.why)
		})
	}
}

func TestParseRefusesValuesOfAnotherType(t *testing.T) {
	size := func(size string) string { return fmt.Sprintf(`{"layers":[{"digest":%q,"size":%s}]}`, sum256, size) }
	for name, test := range map[string]struct{ content, why string }{
		"a size with a fraction":    {size("8.5"), `"/layers/0/size" in it cannot be 8.5`},
		"a size with an exponent":   {size("1e3"), `"/layers/0/size"`},
		"a size beyond 64 bits":     {size("9223372036854775808"), `"/layers/0/size"`},
		"a size far beyond 64 bits": {size("1" + strings.Repeat("0", 400)), `"/layers/0/size"`},
		"a size in quotes":          {size(`"8"`), `"/layers/0/size" in it cannot be a string`},
		"a size of another kind":    {size(`[8]`), `"/layers/0/size"`},
		"layers that are no list":   {`{"layers":{}}`, `"/layers" in it cannot be an object`},
		"a layer that is no object": {`{"layers":["` + sum256.String() + `"]}`, `"/layers/0"`},
		"a number as annotation":    {`{"annotations":{"a":1}}`, `"/annotations/a"`},
		"data that is no base64":    {fmt.Sprintf(`{"config":{"digest":%q,"size":8,"data":"an image"}}`, sum256), `"/config/data"`},
		"a list as media type":      {`{"mediaType":[]}`, `"/mediaType"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := received(t, ociImage, test.content).Parse()
			refused(t, err, registry.ErrInvalidManifest, "received as "+ociImage, test.why)
			if err != nil && strings.Contains(err.Error(), "wire") {
				t.Errorf("the error speaks of this program's types: %v", err)
			}
		})
	}
}

func TestParseSaysWhichDescriptorIsWrong(t *testing.T) {
	descriptor := func(d, size, more string) string { return fmt.Sprintf(`{"digest":%q,"size":%s%s}`, d, size, more) }
	good := descriptor(sum256.String(), "8", "")
	for name, test := range map[string]struct {
		mediaType, content string
		kind               error
		why                string
	}{
		"a layer's size": {ociImage, `{"layers":[` + good + "," + descriptor(sum512.String(), "-1", "") + `]}`,
			registry.ErrInvalidManifest, `layers[1] ("` + sum512.String() + `"): its size is negative (-1)`},
		"a child without a size": {ociIndex, `{"manifests":[{"digest":"` + sum256.String() + `"}]}`,
			registry.ErrInvalidManifest, `manifests[0] ("` + sum256.String() + `"): a size of 0`},
		"a blob of the largest size": {ociArtifact, `{"blobs":[` + descriptor(sum256.String(), "9223372036854775807", "") + `]}`,
			registry.ErrLimit, `blobs[0] ("` + sum256.String() + `"): its size of 9223372036854775807`},
		"a configuration without a digest": {ociImage, `{"config":{}}`, registry.ErrInvalidManifest, `config (""): its digest is refused: it is empty`},
		"a null in a list":                 {ociImage, `{"layers":[null]}`, registry.ErrInvalidManifest, `layers[0] (""): its digest is refused`},
		"a child with md5": {ociIndex, `{"manifests":[` + descriptor("md5:d41d8cd98f00b204e9800998ecf8427e", "8", "") + `]}`,
			registry.ErrInvalidManifest, `"md5" is not supported`},
		"a path as digest": {ociImage, `{"layers":[` + descriptor("sha256:../../x", "8", "") + `]}`,
			registry.ErrInvalidManifest, `layers[0] ("sha256:../../x"): its digest is refused`},
		"control codes as digest": {ociImage, `{"layers":[{"digest":"\u001b[2J\n::error::","size":1}]}`,
			registry.ErrInvalidManifest, `layers[0] ("[2J : :error::"): its digest is refused`},
		"inline data of a subject": {ociImage, `{"subject":` + descriptor(sum256.String(), "8", `,"data":"YW4gdW1hZ2U="`) + `}`,
			registry.ErrMismatch, `subject ("` + sum256.String() + `"): its inline data has the digest ` + digest.FromString("an umage").String()},
		"a layer of a schema 1 image": {dockerSchema1, `{"fsLayers":[{"blobSum":"sha256:abc"}]}`,
			registry.ErrInvalidManifest, `fsLayers[0] ("sha256:abc"): sha256 has 64`},
	} {
		t.Run(name, func(t *testing.T) {
			m := received(t, test.mediaType, test.content)
			contents, err := m.Parse()
			refused(t, err, test.kind, "cannot read the manifest "+m.Digest.String(), test.why)
			if !reflect.DeepEqual(contents, registry.Contents{}) {
				t.Errorf("beside the error it gives %+v", contents)
			}
		})
	}
}

// allocated is how many bytes f allocates in all, whether freed since or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestAMillionEntriesAreRefusedWithFlatMemory(t *testing.T) {
	const million, enough = 1_000_000, 64 << 10
	list := func(entry string) string { return "[" + strings.Repeat(entry+",", million-1) + entry + "]" }
	members := func() string {
		var b strings.Builder
		for i := range million {
			fmt.Fprintf(&b, `"%d":"",`, i)
		}
		return "{" + b.String() + `"last":""}`
	}()
	for name, test := range map[string]struct{ mediaType, content, why string }{
		"an index":        {ociIndex, `{"manifests":` + list("{}") + "}", "a list of more than 10000 entries"},
		"layers":          {ociImage, `{"config":` + config + `,"layers":` + list("null") + "}", "a list of more than 10000 entries"},
		"fsLayers":        {unknownType, `{"fsLayers":` + list("{}") + "}", "a list of more than 10000 entries"},
		"urls":            {ociImage, `{"layers":[{"urls":` + list(`""`) + "}]}", "a list of more than 10000 entries"},
		"annotations":     {ociImage, `{"annotations":` + members + "}", "an object of more than 10000 members"},
		"unknown members": {unknownType, members, "an object of more than 10000 members"},
	} {
		t.Run(name, func(t *testing.T) {
			m := received(t, test.mediaType, test.content)
			var err error
			if n := allocated(func() { _, err = m.Parse() }); n > enough {
				t.Errorf("%d bytes were allocated to refuse %d, want at most %d", n, len(test.content), enough)
			}
			refused(t, err, registry.ErrLimit, m.Digest.String(), test.why)
		})
	}
}

func TestManySmallThingsCostMemoryInProportion(t *testing.T) {
	// Each list and object stays within its own limit.
	many := func(n int, open, entry, closing string) string {
		one := open + strings.TrimSuffix(strings.Repeat(entry+",", 9_999), ",") + closing
		return `{"layers":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}`
	}
	_, err := received(t, ociImage, many(60, `{"urls":[`, `""`, `]}`)).Parse()
	refused(t, err, registry.ErrLimit, "more than 200000 names and values")

	var members strings.Builder
	for i := range 9_999 {
		fmt.Fprintf(&members, `"%d":0,`, i)
	}
	content := `{"layers":[` + strings.TrimSuffix(strings.Repeat(`{`+strings.TrimSuffix(members.String(), ",")+`},`, 9), ",") + `]}`
	m := received(t, ociImage, content)
	if n := allocated(func() { _, err = m.Parse() }); n > uint64(30*len(content)) {
		t.Errorf("%d bytes were allocated to read %d", n, len(content))
	}
	refused(t, err, registry.ErrInvalidManifest, "layers[0]")
}

func TestAsManyEntriesAsAreAllowedAreRead(t *testing.T) {
	for entries, kind := range map[int]error{10_000: nil, 10_001: registry.ErrLimit} {
		contents, err := received(t, ociIndex, `{"manifests":[`+strings.TrimSuffix(strings.Repeat(child+",", entries), ",")+`]}`).Parse()
		if kind != nil {
			refused(t, err, kind)
		} else if err != nil || len(contents.Manifests) != entries {
			t.Errorf("of %d entries it read %d (%v)", entries, len(contents.Manifests), err)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
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
			refused(t, err, err.(*registry.Error).Kind) //nolint:errorlint // a panic is a failure too
			return
		}
		contents, err := m.Parse()
		again, errAgain := m.Parse()
		if !reflect.DeepEqual(contents, again) || fmt.Sprint(err) != fmt.Sprint(errAgain) {
			t.Errorf("read twice it gives %+v (%v) and %+v (%v)", contents, err, again, errAgain)
		}
		if string(m.Content) != before {
			t.Errorf("reading it changed it from %q to %q", before, m.Content)
		}
		switch {
		case err != nil:
			refused(t, err, err.(*registry.Error).Kind, "cannot read the manifest") //nolint:errorlint // a panic is a failure too
		case !registry.IsSchema1(mediaType):
			sameToOthers(t, content, contents)
		}
	})
}

// sameToOthers checks that what was read is what encoding/json, and so most
// registries and runtimes, reads in the same bytes.
func sameToOthers(t *testing.T, content []byte, contents registry.Contents) {
	t.Helper()
	var others struct {
		Subject, Config          *ocispec.Descriptor
		Layers, Blobs, Manifests []ocispec.Descriptor
		FSLayers                 []struct{ BlobSum digest.Digest }
	}
	if err := json.Unmarshal(content, &others); err != nil {
		t.Fatalf("%q was accepted, and others cannot read it: %v", content, err)
	}
	layers := slices.Concat(others.Layers, others.Blobs)
	for _, l := range others.FSLayers {
		layers = append(layers, ocispec.Descriptor{Digest: l.BlobSum, Size: registry.SizeUnknown})
	}
	ours := []any{contents.Subject, contents.Config, contents.Layers, contents.Manifests}
	for i, theirs := range []any{others.Subject, others.Config, layers, others.Manifests} {
		if a, b := fmt.Sprintf("%+v", jsonOf(t, ours[i])), fmt.Sprintf("%+v", jsonOf(t, theirs)); a != b {
			t.Errorf("in %q it reads\n%s, and others\n%s", content, a, b)
		}
	}
}

// jsonOf writes a descriptor or a list of them, an empty list as none.
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
