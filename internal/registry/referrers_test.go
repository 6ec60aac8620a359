package registry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestReferrersTag(t *testing.T) {
	for algorithm, test := range map[digest.Algorithm]struct {
		referrers string
		legacy    []string
	}{
		digest.SHA256: {"sha256-HEX", []string{"sha256-HEX.sig", "sha256-HEX.att", "sha256-HEX.sbom"}},
		// The tag is cut to 64 digits. cosign does not use these algorithms, because
		// its tags would be too long.
		digest.SHA384: {"sha384-HEX", nil},
		digest.SHA512: {"sha512-HEX", nil},
	} {
		d := algorithm.FromString("a")
		hex := d.Encoded()[:64]
		if got, want := registry.ReferrersTag(d), strings.ReplaceAll(test.referrers, "HEX", hex); got != want {
			t.Errorf("ReferrersTag(%s) = %q, want %q", d, got, want)
		}
		legacy := registry.LegacyTags(d)
		if got := strings.ReplaceAll(strings.Join(legacy, " "), hex, "HEX"); got != strings.Join(test.legacy, " ") {
			t.Errorf("LegacyTags(%s) = %q, want %q", d, got, test.legacy)
		}
		for _, tag := range append(legacy, registry.ReferrersTag(d)) {
			if _, err := registry.ParseReference("registry.example.com/app:" + tag); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestContentsType(t *testing.T) {
	const configType = "application/vnd.oci.image.config.v1+json"
	for content, want := range map[string]string{
		`{"artifactType":"a/b","config":` + config + `}`: "a/b",
		`{"artifactType":"","config":` + config + `}`:    configType,
		`{"config":` + config + `}`:                      configType,
		`{"layers":[]}`:                                  "",
	} {
		contents, err := newManifest(t, ociImage, content).Parse()
		if got := contents.Type(); err != nil || got != want {
			t.Errorf("Type() of %s = %q, %v; want %q", content, got, err, want)
		}
	}
}

func TestReferrerListAppendPage(t *testing.T) {
	one, two, three := descriptorOf(ociImage, "one"), descriptorOf(ociImage, "two"), descriptorOf(ociIndex, "three")
	page := func(entries ...registry.Descriptor) registry.Manifest {
		content, err := json.Marshal(map[string]any{"manifests": entries})
		if err != nil {
			t.Fatal(err)
		}
		return newManifest(t, ociIndex, string(content))
	}
	detailed := two
	detailed.ArtifactType, detailed.Annotations, detailed.Data = "a/b", map[string]string{"a": "b"}, []byte("two")
	l := registry.ReferrerList{Tag: "kept"}
	for _, p := range []registry.Manifest{page(one, detailed), page(), page(two, three, one)} {
		var err error
		if l, err = l.AppendPage(p); err != nil {
			t.Fatal(err)
		}
	}
	if want := []registry.Descriptor{one, two, three}; !reflect.DeepEqual(l.Referrers, want) || l.Tag != "kept" {
		t.Errorf("AppendPage() = %+v, want %+v", l, want)
	}
}

func TestReferrerListAppendPage_Invalid(t *testing.T) {
	before := registry.ReferrerList{Referrers: []registry.Descriptor{descriptorOf(ociImage, "existing")}}
	for _, test := range []struct {
		mediaType, content string
		want               error
	}{
		{ociIndex, `{}`, nil},
		{ociIndex, `{"manifests":null}`, nil},
		{ociIndex, `null`, registry.ErrProtocol},
		{ociIndex, `[]`, registry.ErrProtocol},
		{ociIndex, `<html>`, registry.ErrProtocol},
		{ociIndex, `{"manifests":"x"}`, registry.ErrProtocol},
		{ociIndex, `{"layers":[` + layer + `]}`, registry.ErrProtocol},
		{ociImage, `{"layers":[` + layer + `]}`, registry.ErrProtocol},
		{dockerList, `{"manifests":[` + child + `]}`, registry.ErrProtocol},
		{ociIndex, `{"manifests":[` + child + `,{}]}`, registry.ErrInvalidManifest},
		{ociIndex, `{"manifests":[` + child + `],"layers":[]}`, registry.ErrInvalidManifest},
		{ociIndex, `{"manifests":[` + strings.Repeat(child+",", registry.MaxReferrers) + child + `]}`, registry.ErrLimit},
	} {
		l, err := before.AppendPage(registry.Manifest{MediaType: test.mediaType, Content: []byte(test.content)})
		if test.want != nil {
			assertError(t, err, test.want)
		} else if err != nil {
			t.Errorf("AppendPage(%s) error = %v", test.content, err)
		}
		if !reflect.DeepEqual(l, before) {
			t.Errorf("AppendPage(%.100s) = %+v, want %+v", test.content, l, before)
		}
	}
}

// entries returns the descriptors of an index, byte for byte.
func entries(t *testing.T, m registry.Manifest) []string {
	t.Helper()
	var index struct{ Manifests []json.RawMessage }
	if err := json.Unmarshal(m.Content, &index); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range index.Manifests {
		all = append(all, string(e))
	}
	return all
}

func TestAppendManifests(t *testing.T) {
	more := descriptorOf(ociImage, "more")
	more.ArtifactType, more.Annotations = "a/b", map[string]string{"at": "https://example.com/?a=1&b=<2>"}
	added := `{"mediaType":"` + ociImage + `","digest":"` + more.Digest.String() + `","size":4,"annotations":{"at":"https://example.com/?a=1&b=<2>"},"artifactType":"a/b"}`
	odd := fmt.Sprintf(`{"x-new":{"a":1e3,"B":[null]},"size":3,"annotations":{"<>":"\u003c\/"},"digest":%q}`, digest.FromString("odd"))
	for name, test := range map[string]struct {
		before  string
		fields  map[string]string // all except manifests
		entries []string
	}{
		"new_index":       {"", map[string]string{"schemaVersion": "2", "mediaType": `"` + ociIndex + `"`}, []string{added}},
		"empty_list":      {`{"schemaVersion":2,"manifests":[]}`, map[string]string{"schemaVersion": "2"}, []string{added}},
		"null_list":       {`{"schemaVersion":2,"manifests":null}`, map[string]string{"schemaVersion": "2"}, []string{added}},
		"no_list":         {`{"schemaVersion":2}`, map[string]string{"schemaVersion": "2"}, []string{added}},
		"unknown_fields":  {`{"x-new":{"B":1,"a":"\u003c"},"schemaVersion":2,"annotations":{"a":"&"},"manifests":[` + odd + `]}`, map[string]string{"x-new": `{"B":1,"a":"\u003c"}`, "schemaVersion": "2", "annotations": `{"a":"&"}`}, []string{odd, added}},
		"duplicate_entry": {`{"manifests":[` + odd + `,` + odd + `]}`, map[string]string{}, []string{odd, odd, added}},
	} {
		t.Run(name, func(t *testing.T) {
			var before registry.Manifest
			if test.before != "" {
				before = newManifest(t, ociIndex, test.before)
			}
			after, err := before.AppendManifests([]registry.Descriptor{more, more})
			if err != nil || after.MediaType != ociIndex || after.Digest != digest.FromBytes(after.Content) {
				t.Fatalf("AppendManifests() = %+v, %v", after, err)
			}
			if got := entries(t, after); !slices.Equal(got, test.entries) {
				t.Errorf("manifests = %q, want %q", got, test.entries)
			}
			fields := map[string]json.RawMessage{}
			if err := json.Unmarshal(after.Content, &fields); err != nil {
				t.Fatal(err)
			}
			delete(fields, "manifests")
			for field, want := range test.fields {
				if string(fields[field]) != want {
					t.Errorf("field %s = %s, want %s", field, fields[field], want)
				}
			}
			if len(fields) != len(test.fields) {
				t.Errorf("AppendManifests() = %s, want %d other fields", after.Content, len(test.fields))
			}
			if _, err := after.Parse(); err != nil {
				t.Error(err)
			}
			if again, err := after.AppendManifests([]registry.Descriptor{more}); err != nil || !bytes.Equal(again.Content, after.Content) {
				t.Errorf("second AppendManifests() = %s, %v; want it unchanged", again.Content, err)
			}
		})
	}
}

func TestAppendManifests_AllPresent(t *testing.T) {
	before := newManifest(t, ociIndex, "{ \"manifests\" :\t["+child+" ] ,\"schemaVersion\":2}\n")
	after, err := before.AppendManifests([]registry.Descriptor{descriptorOf(ociImage, "child")})
	if err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("AppendManifests() = %s, %v; want it unchanged", after.Content, err)
	}
}

func TestAppendManifests_EmptyList(t *testing.T) {
	m, err := registry.Manifest{}.AppendManifests(nil)
	if err != nil || !strings.Contains(string(m.Content), `"manifests":[]`) {
		t.Errorf("AppendManifests(nil) = %s, %v; want an empty list", m.Content, err)
	}
}

func TestAppendManifests_Limit(t *testing.T) {
	var children []registry.Descriptor
	for i := range registry.MaxReferrers {
		children = append(children, descriptorOf(ociImage, fmt.Sprint(i)))
	}
	full, err := registry.Manifest{}.AppendManifests(children)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (registry.ReferrerList{}).AppendPage(full); err != nil {
		t.Error(err)
	}
	_, err = full.AppendManifests([]registry.Descriptor{descriptorOf(ociImage, "more")})
	assertError(t, err, registry.ErrLimit, "more than 10000 manifests")
}

func TestAppendManifests_NotAnIndex(t *testing.T) {
	for _, content := range []string{"null", "[]", "<html>", `"x"`, `{"manifests":{}}`, `{"manifests":"x"}`} {
		_, err := newManifest(t, ociIndex, content).AppendManifests([]registry.Descriptor{descriptorOf(ociImage, "more")})
		assertError(t, err, registry.ErrInvalidManifest, "cannot add to the index")
	}
}

func TestRemoveManifests(t *testing.T) {
	a, b, c := descriptorJSON(ociImage, "a"), descriptorJSON(ociImage, "b"), descriptorJSON(ociImage, "c")
	const head, tail = "{ \"x-new\":1,\n\"manifests\" : [ ", " ],\t\"schemaVersion\":2 }\n"
	for gone, want := range map[string]string{
		"":      head + a + " , " + b + ",\n" + c + tail,
		"b":     head + a + "," + c + tail,
		"a c":   head + b + tail,
		"a b c": head + tail,
	} {
		after, err := newManifest(t, ociIndex, head+a+" , "+b+",\n"+c+tail).RemoveManifests(func(d registry.Descriptor) bool {
			return slices.ContainsFunc(strings.Fields(gone), func(name string) bool { return d.Digest == digest.FromString(name) })
		})
		if err != nil || string(after.Content) != want || after.Digest != digest.FromString(want) {
			t.Errorf("RemoveManifests(%s) = %s, %v; want %s", gone, after.Content, err, want)
		}
	}
	for _, empty := range []string{`{"manifests":[]}`, `{"manifests":null,"schemaVersion":2}`, `{"schemaVersion":2}`} {
		after, err := newManifest(t, ociIndex, empty).RemoveManifests(func(registry.Descriptor) bool { return true })
		if err != nil || string(after.Content) != empty {
			t.Errorf("RemoveManifests() of %s = %s, %v; want it unchanged", empty, after.Content, err)
		}
	}
	_, err := newManifest(t, ociIndex, "null").RemoveManifests(func(registry.Descriptor) bool { return true })
	assertError(t, err, registry.ErrInvalidManifest)
}

// FuzzAppendManifests checks, for any content of a tag, that appended manifests are
// listed after the existing ones, and that removing them restores the list.
func FuzzAppendManifests(f *testing.F) {
	for _, seed := range []string{
		"", `{"manifests":[` + child + `]}`, `{"manifests":null,"x":[1e3]}`, `{"manifests":[{"digest":"x"}]}`, "null", "[]", `{"manifests":[` + child + `,` + child + `],"Manifests":[]}`, `{"a":1,"a":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		m := registry.Manifest{MediaType: ociIndex, Digest: digest.FromBytes(content), Content: content}
		more := descriptorOf(ociImage, "more")
		listing, listErr := registry.ReferrerList{}.AppendPage(m)
		after, err := m.AppendManifests([]registry.Descriptor{more})
		if err != nil {
			if assertError(t, err, err.(*registry.Error).Kind); listErr == nil { //nolint:errorlint // a panic fails the test too
				t.Errorf("AppendManifests() error = %v, and AppendPage() accepts the list", err)
			}
			return
		}
		if listErr != nil {
			return // AppendPage reports why the list is invalid
		}
		want := listing.Referrers
		if !slices.ContainsFunc(want, func(d registry.Descriptor) bool { return d.Digest == more.Digest }) {
			want = append(slices.Clone(want), more)
		}
		now, err := registry.ReferrerList{}.AppendPage(after)
		if err != nil || !reflect.DeepEqual(now.Referrers, want) {
			t.Errorf("AppendPage(%s) = %v, %v; want %v", after.Content, now.Referrers, err, want)
		}
		before, err := after.RemoveManifests(func(d registry.Descriptor) bool { return d.Digest == more.Digest })
		if err != nil {
			t.Fatal(err)
		}
		if left, err := (registry.ReferrerList{}).AppendPage(before); err != nil || slices.ContainsFunc(left.Referrers, func(d registry.Descriptor) bool { return d.Digest == more.Digest }) {
			t.Errorf("AppendPage(%s) = %v, %v; want the removed manifest not listed", before.Content, left.Referrers, err)
		}
	})
}
