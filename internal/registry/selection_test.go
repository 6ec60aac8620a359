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

// buildManifest returns content as a manifest of a registry.
func buildManifest(t *testing.T, content registrytest.Content) registry.Manifest {
	t.Helper()
	b := content.Build()
	m, err := registry.NewManifest(b.MediaType, b.Bytes, b.Digest.Algorithm())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// platforms parses platforms.
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

// multiPlatformIndex returns an index of images for several platforms, with
// attestations unless it is a Docker list. It also returns the images by name.
func multiPlatformIndex(docker bool) (registrytest.Index, map[string]registrytest.Manifest) {
	byName := map[string]registrytest.Manifest{}
	index := registrytest.Index{Docker: docker}
	for _, name := range []string{"linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8"} {
		m := registrytest.Image{Docker: docker, Seed: name, Platform: name}.Build()
		byName[name] = m
		index.Manifests = append(index.Manifests, m)
	}
	for _, version := range []string{"10.0.17763.1", "10.0.20348.7"} {
		m := registrytest.Image{Docker: docker, Seed: version, Platform: "windows/amd64"}.Build()
		p := *m.Platform
		p.OSVersion = version
		m.Platform = &p
		byName["windows "+version] = m
		index.Manifests = append(index.Manifests, m)
	}
	if !docker {
		index.Annotations = map[string]string{"a": "b"}
		for _, subject := range []string{"linux/amd64", "linux/arm/v7"} {
			a := registrytest.Attestation("x", byName[subject])
			byName["attestation of "+subject] = a
			index.Manifests = append(index.Manifests, a)
		}
	}
	return index, byName
}

func TestSelect_OnePlatform(t *testing.T) {
	index, byName := multiPlatformIndex(false)
	for wanted, is := range map[string]string{
		"linux/amd64": "linux/amd64", "linux/x86_64": "linux/amd64", "linux/arm": "linux/arm/v7", "linux/arm/v6": "linux/arm/v6", "linux/arm64": "linux/arm64/v8",
		"windows(10.0.17763)/amd64": "windows 10.0.17763.1", "windows(10.0.20348.7)/amd64": "windows 10.0.20348.7",
	} {
		s, err := buildManifest(t, index).Select(platforms(t, wanted))
		if err != nil || s.Root.Digest != byName[is].Digest || s.Index.Content != nil {
			t.Errorf("Select(%s) root = %s, %v; want %s", wanted, s.Root.Digest, err, byName[is].Digest)
		}
	}
}

// The result is the index that would have been built from the selected images alone,
// and its descriptors are not encoded again.
func TestSelect_SeveralPlatforms(t *testing.T) {
	for _, docker := range []bool{false, true} {
		index, byName := multiPlatformIndex(docker)
		for name, c := range map[string]struct{ wanted, remain []string }{
			"in_index_order":     {[]string{"linux/arm64", "linux/amd64"}, []string{"linux/amd64", "linux/arm64/v8", "attestation of linux/amd64"}},
			"duplicate_platform": {[]string{"linux/arm/v7", "linux/arm"}, []string{"linux/arm/v7", "attestation of linux/arm/v7"}},
			"all_os_versions":    {[]string{"windows/amd64", "linux/arm/v6"}, []string{"linux/arm/v6", "windows 10.0.17763.1", "windows 10.0.20348.7"}},
			"first_and_last":     {[]string{"linux/amd64", "windows(10.0.20348)/amd64"}, []string{"linux/amd64", "windows 10.0.20348.7", "attestation of linux/amd64"}},
		} {
			want := index
			want.Manifests = nil
			for _, r := range c.remain {
				if m, ok := byName[r]; ok {
					want.Manifests = append(want.Manifests, m)
				}
			}
			m := buildManifest(t, index)
			s, err := m.Select(platforms(t, c.wanted...))
			if err != nil {
				t.Fatal(err)
			}
			if expected := buildManifest(t, want); compact(t, s.Index.Content) != compact(t, expected.Content) || s.Index.MediaType != m.MediaType {
				t.Errorf("%s, docker %t: Select() index = %s\nwant %s", name, docker, s.Index.Content, expected.Content)
			}
			if s.Root.Digest != s.Index.Digest || s.Root.Size != int64(len(s.Index.Content)) || s.Root.MediaType != m.MediaType {
				t.Errorf("Select() root = %+v, want the index", s.Root)
			}
			for _, d := range rawDescriptors(t, s.Index.Content) {
				if !strings.Contains(string(m.Content), d) {
					t.Errorf("Select() changed a descriptor to %s", d)
				}
			}
		}
	}
}

// compact returns JSON without whitespace. Select removes some whitespace with the
// descriptors.
func compact(t *testing.T, content []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, content); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// rawDescriptors returns the descriptors of an index, byte for byte.
func rawDescriptors(t *testing.T, content []byte) []string {
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

func TestSelect_AllPlatforms(t *testing.T) {
	m := buildManifest(t, registrytest.MultiArch("a"))
	s, err := m.Select(platforms(t, "linux/amd64", "linux/arm64"))
	if err != nil || s.Root.Digest != m.Digest || !bytes.Equal(s.Index.Content, m.Content) {
		t.Errorf("Select() root = %s, %v; want the index itself", s.Root.Digest, err)
	}
}

func TestSelect_KeepsDigestAlgorithm(t *testing.T) {
	index, _ := multiPlatformIndex(false)
	index.Algorithm = "sha512"
	s, err := buildManifest(t, index).Select(platforms(t, "linux/amd64", "linux/arm64"))
	if err != nil || s.Root.Digest.Algorithm() != "sha512" {
		t.Errorf("Select() root = %s, %v; want a sha512 digest", s.Root.Digest, err)
	}
}

func TestSelect_Errors(t *testing.T) {
	index, _ := multiPlatformIndex(false)
	for name, c := range map[string]struct {
		content registrytest.Content
		wanted  []string
		kind    error
		message string
	}{
		"missing_platform":     {index, []string{"linux/amd64", "linux/riscv64"}, registry.ErrNotFound, "the index has linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64/v8, windows(10.0.17763.1)/amd64, windows(10.0.20348.7)/amd64"},
		"missing_os_version":   {index, []string{"windows(10.0.1776)/amd64"}, registry.ErrNotFound, "cannot find the platform windows(10.0.1776)/amd64 in sha256:"},
		"attestation_platform": {index, []string{"unknown/unknown"}, registry.ErrNotFound, "cannot find the platform unknown/unknown"},
		"ambiguous_platform":   {index, []string{"windows/amd64"}, registry.ErrInvalidReference, "the index has 2 manifests for it: windows(10.0.17763.1)/amd64 (sha256:"},
		"no_platforms":         {registrytest.Index{Manifests: []registrytest.Content{registrytest.Artifact{Seed: "a"}}}, []string{"linux/amd64"}, registry.ErrNotFound, "the index has no platforms"},
		"empty_index":          {registrytest.Index{}, []string{"linux/amd64"}, registry.ErrNotFound, "the index has no platforms"},
	} {
		_, err := buildManifest(t, c.content).Select(platforms(t, c.wanted...))
		e, ok := errors.AsType[*registry.Error](err)
		if !ok || !errors.Is(err, c.kind) || !strings.Contains(e.Error(), c.message) || e.Hint == "" {
			t.Errorf("%s: Select() error = %v, want %q", name, err, c.message)
		}
	}
}

// FuzzSelect checks, for any index, that Select returns a subset of its descriptors.
func FuzzSelect(f *testing.F) {
	index, _ := multiPlatformIndex(false)
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
		before, after := rawDescriptors(t, content), rawDescriptors(t, s.Index.Content)
		for _, d := range after {
			i := slices.Index(before, d)
			if i < 0 {
				t.Fatalf("Select() returned %s, which is not in %s in this order", d, content)
			}
			before = before[i+1:]
		}
		if len(after) == 0 {
			t.Errorf("Select() of %s returned no descriptors", content)
		}
	})
}
