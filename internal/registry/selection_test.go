package registry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// built is content as a registry would hold it.
func built(t *testing.T, content registrytest.Content) registry.Manifest {
	t.Helper()
	b := content.Build()
	m, err := registry.NewManifest(b.MediaType, b.Bytes, b.Digest.Algorithm())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// platforms reads some.
func platforms(t *testing.T, names ...string) []registry.Platform {
	t.Helper()
	var all []registry.Platform
	for _, name := range names {
		p, err := registry.ParsePlatform(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// many is an index of images for several platforms, with attestations.
func many(docker bool) (registrytest.Index, map[string]registrytest.Manifest) {
	named := map[string]registrytest.Manifest{}
	index := registrytest.Index{Docker: docker}
	for _, name := range []string{"linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8"} {
		m := registrytest.Image{Docker: docker, Seed: name, Platform: name}.Build()
		named[name] = m
		index.Manifests = append(index.Manifests, m)
	}
	for _, version := range []string{"10.0.17763.1", "10.0.20348.7"} {
		m := registrytest.Image{Docker: docker, Seed: version, Platform: "windows/amd64"}.Build()
		p := *m.Platform
		p.OSVersion = version
		m.Platform = &p
		named["windows "+version] = m
		index.Manifests = append(index.Manifests, m)
	}
	if !docker {
		index.Annotations = map[string]string{"a": "b"}
		for _, of := range []string{"linux/amd64", "linux/arm/v7"} {
			a := registrytest.Attestation("x", named[of])
			named["attestation of "+of] = a
			index.Manifests = append(index.Manifests, a)
		}
	}
	return index, named
}

func TestSelectOnePlatformIsItsManifest(t *testing.T) {
	index, named := many(false)
	for wanted, is := range map[string]string{
		"linux/amd64": "linux/amd64", "linux/x86_64": "linux/amd64", "linux/arm": "linux/arm/v7", "linux/arm/v6": "linux/arm/v6", "linux/arm64": "linux/arm64/v8",
		"windows(10.0.17763)/amd64": "windows 10.0.17763.1", "windows(10.0.20348.7)/amd64": "windows 10.0.20348.7",
	} {
		s, err := built(t, index).Select(platforms(t, wanted))
		if err != nil || s.Root.Digest != named[is].Digest || s.Index.Content != nil {
			t.Errorf("%s is %s, %v; want %s", wanted, s.Root.Digest, err, named[is].Digest)
		}
	}
}

// The index that remains is the one that would have been built without the
// others: nothing in it was written anew.
func TestSelectSeveralPlatformsCutsTheIndex(t *testing.T) {
	for _, docker := range []bool{false, true} {
		index, named := many(docker)
		for name, c := range map[string]struct{ wanted, remain []string }{
			"in the index's order": {[]string{"linux/arm64", "linux/amd64"}, []string{"linux/amd64", "linux/arm64/v8", "attestation of linux/amd64"}},
			"twice the same":       {[]string{"linux/arm/v7", "linux/arm"}, []string{"linux/arm/v7", "attestation of linux/arm/v7"}},
			"every version":        {[]string{"windows/amd64", "linux/arm/v6"}, []string{"linux/arm/v6", "windows 10.0.17763.1", "windows 10.0.20348.7"}},
			"the first and last":   {[]string{"linux/amd64", "windows(10.0.20348)/amd64"}, []string{"linux/amd64", "windows 10.0.20348.7", "attestation of linux/amd64"}},
		} {
			want := index
			want.Manifests = nil
			for _, r := range c.remain {
				if m, ok := named[r]; ok {
					want.Manifests = append(want.Manifests, m)
				}
			}
			m := built(t, index)
			s, err := m.Select(platforms(t, c.wanted...))
			if err != nil {
				t.Fatal(err)
			}
			if expected := built(t, want); compact(t, s.Index.Content) != compact(t, expected.Content) || s.Index.MediaType != m.MediaType {
				t.Errorf("%s, docker %v:\n%s\nwant\n%s", name, docker, s.Index.Content, expected.Content)
			}
			if s.Root.Digest != s.Index.Digest || s.Root.Size != int64(len(s.Index.Content)) || s.Root.MediaType != m.MediaType {
				t.Errorf("the root is %+v", s.Root)
			}
			for _, d := range kept(t, s.Index.Content) {
				if !strings.Contains(string(m.Content), d) {
					t.Errorf("%s was not in the index like that", d)
				}
			}
		}
	}
}

// compact is JSON without the white space, of which some is gone with what was
// cut out.
func compact(t *testing.T, content []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, content); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// kept are the descriptors of an index, byte for byte.
func kept(t *testing.T, content []byte) []string {
	t.Helper()
	var index struct{ Manifests []json.RawMessage }
	if err := json.Unmarshal(content, &index); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, d := range index.Manifests {
		all = append(all, string(d))
	}
	return all
}

func TestSelectEverythingIsTheIndexItself(t *testing.T) {
	m := built(t, registrytest.MultiArch("a"))
	s, err := m.Select(platforms(t, "linux/amd64", "linux/arm64"))
	if err != nil || s.Root.Digest != m.Digest || !bytes.Equal(s.Index.Content, m.Content) {
		t.Errorf("it is %s, %v", s.Root.Digest, err)
	}
}

func TestSelectKeepsTheAlgorithm(t *testing.T) {
	index, _ := many(false)
	index.Algorithm = "sha512"
	s, err := built(t, index).Select(platforms(t, "linux/amd64", "linux/arm64"))
	if err != nil || s.Root.Digest.Algorithm() != "sha512" {
		t.Errorf("it is %s, %v", s.Root.Digest, err)
	}
}

func TestSelectSaysWhatThereIs(t *testing.T) {
	index, _ := many(false)
	for name, c := range map[string]struct {
		content registrytest.Content
		wanted  []string
		kind    error
		says    string
	}{
		"not there":          {index, []string{"linux/amd64", "linux/riscv64"}, registry.ErrNotFound, "the index has linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64/v8, windows(10.0.17763.1)/amd64, windows(10.0.20348.7)/amd64"},
		"another version":    {index, []string{"windows(10.0.1776)/amd64"}, registry.ErrNotFound, "cannot find the platform windows(10.0.1776)/amd64 in sha256:"},
		"no attestation":     {index, []string{"unknown/unknown"}, registry.ErrNotFound, "cannot find the platform unknown/unknown"},
		"one that are two":   {index, []string{"windows/amd64"}, registry.ErrInvalidReference, "the index has 2 manifests for it: windows(10.0.17763.1)/amd64 (sha256:"},
		"nothing with one":   {registrytest.Index{Manifests: []registrytest.Content{registrytest.Artifact{Seed: "a"}}}, []string{"linux/amd64"}, registry.ErrNotFound, "the index has no platforms"},
		"an index of nobody": {registrytest.Index{}, []string{"linux/amd64"}, registry.ErrNotFound, "the index has no platforms"},
	} {
		_, err := built(t, c.content).Select(platforms(t, c.wanted...))
		e, ok := errors.AsType[*registry.Error](err)
		if !ok || !errors.Is(err, c.kind) || !strings.Contains(e.Error(), c.says) || e.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIsFor(t *testing.T) {
	for _, test := range []struct {
		is, wanted string
		want       bool
	}{
		{"linux/amd64", "linux/amd64", true},
		{"linux/arm64", "linux/arm64/v8", true},
		{"linux/arm64/8", "linux/aarch64", true},
		{"linux/arm", "linux/arm/v7", true},
		{"linux/arm/7", "linux/armhf", true},
		{"linux/armel", "linux/arm/v6", true},
		{"Linux/X86_64", "linux/amd64/v1", true},
		{"linux/i386", "linux/386", true},
		{"macos/arm64", "darwin/arm64", true},
		{"linux/arm/v6", "linux/arm/v7", false},
		{"linux/amd64", "linux/amd64/v3", false},
		{"linux/arm64", "linux/arm64/v9", false},
		{"linux/amd64", "windows/amd64", false},
		{"linux/amd64", "linux/arm64", false},
		{"windows(10.0.20348.1)/amd64", "windows/amd64", true},
		{"windows(10.0.20348.1)/amd64", "windows(10.0.20348)/amd64", true},
		{"windows(10.0.20348.1)/amd64", "windows(10.0.2034)/amd64", false},
		{"windows/amd64", "windows(10.0.20348)/amd64", false},
	} {
		p := platforms(t, test.is, test.wanted)
		if got := registry.Satisfies(p[0], p[1]); got != test.want {
			t.Errorf("%s for %s: %v, want %v", test.is, test.wanted, got, test.want)
		}
	}
}

func TestParsePlatform(t *testing.T) {
	for _, s := range []string{"linux/amd64", "linux/arm/v7", "windows(10.0.20348.7)/amd64"} {
		if p := platforms(t, s)[0]; registry.FormatPlatform(p) != s {
			t.Errorf("%q is %+v", s, p)
		}
	}
	for _, s := range []string{"", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/amd 64", "linux//v7", "windows()/amd64", "windows(10/amd64"} {
		if p, err := registry.ParsePlatform(s); err == nil {
			t.Errorf("%q was read as %+v", s, p)
		}
	}
	if registry.IsPlatform(nil) || slices.ContainsFunc(platforms(t, "unknown/unknown", "linux/unknown"), func(p registry.Platform) bool { return registry.IsPlatform(&p) }) {
		t.Error("an attestation manifest runs nowhere")
	}
}

// Whatever an index holds: what Select keeps is a part of it, and nothing else.
func FuzzSelect(f *testing.F) {
	index, _ := many(false)
	f.Add(index.Build().Bytes, "linux/amd64", "linux/arm64")
	f.Add(registrytest.DockerList("a").Build().Bytes, "linux/amd64", "linux/amd64")
	f.Add([]byte(`{"manifests" : [ ] , "schemaVersion":2}`), "linux/amd64", "x/y")
	f.Fuzz(func(t *testing.T, content []byte, one, two string) {
		m, err := registry.NewManifest("application/vnd.oci.image.index.v1+json", content, "")
		if err != nil {
			t.Fatal(err)
		}
		first, err := registry.ParsePlatform(one)
		if err != nil {
			return
		}
		second, err := registry.ParsePlatform(two)
		if err != nil {
			return
		}
		s, err := m.Select([]registry.Platform{first, second})
		if err != nil {
			return
		}
		before, after := kept(t, content), kept(t, s.Index.Content)
		for _, d := range after {
			i := slices.Index(before, d)
			if i < 0 {
				t.Fatalf("%s is not in %s, in this order", d, content)
			}
			before = before[i+1:]
		}
		if len(after) == 0 {
			t.Errorf("nothing is left of %s", content)
		}
	})
}
