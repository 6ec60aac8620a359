package layout_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// digestsOf returns the sorted digests of a list.
func digestsOf(l registry.ReferrerList) (all []digest.Digest) {
	for _, d := range l.Referrers {
		all = append(all, d.Digest)
	}
	slices.Sort(all)
	return all
}

func sorted(manifests ...registrytest.Manifest) (all []digest.Digest) {
	for _, m := range manifests {
		all = append(all, m.Digest)
	}
	slices.Sort(all)
	return all
}

// withUnnamed returns a layout whose index also has entries without a name.
func withUnnamed(t *testing.T, tagged map[string]registrytest.Content, unnamed []registrytest.Content) string {
	t.Helper()
	contents := maps.Clone(tagged)
	for i, content := range unnamed {
		contents[fmt.Sprint("unnamed", i)] = content
	}
	dir := registrytest.Layout(t, contents)
	index, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`"` + ocispec.AnnotationRefName + `":"unnamed\d"`)
	registrytest.WriteFile(t, dir, ocispec.ImageIndexFile, name.ReplaceAll(index, nil))
	return dir
}

func TestListReferrers_SubjectAndTag(t *testing.T) {
	image := registrytest.Image{Seed: "a"}.Build()
	sbom := registrytest.Artifact{Seed: "sbom", Subject: image}.Build()
	signature := registrytest.NewSigningKey(t).Sign(t, image).Referrer.Build()
	old := registrytest.Artifact{Seed: "old", Subject: image, Old: true}.Build()
	index := registrytest.Index{Manifests: []registrytest.Content{image}, Subject: image}.Build()
	other := registrytest.Artifact{Seed: "other", Subject: registrytest.Image{Seed: "b"}}.Build()
	tag := registrytest.ReferrersTag(image.Digest)
	list := func(of ...registrytest.Content) registrytest.Content { return registrytest.Index{Manifests: of} }
	for name, test := range map[string]struct {
		tagged  map[string]registrytest.Content
		unnamed []registrytest.Content
		want    []digest.Digest
		hasTag  bool
	}{
		"none":                    {nil, nil, nil, false},
		"subject":                 {nil, []registrytest.Content{sbom, signature, old, index, other}, sorted(sbom, signature, old, index), false},
		"referrers_tag":           {map[string]registrytest.Content{tag: list(sbom, signature)}, nil, sorted(sbom, signature), true},
		"both_without_duplicates": {map[string]registrytest.Content{tag: list(sbom, signature)}, []registrytest.Content{sbom, old, sbom}, sorted(sbom, signature, old), true},
		"own_tag":                 {map[string]registrytest.Content{"sbom": sbom}, nil, sorted(sbom), false},
		"tag_of_other_digest":     {map[string]registrytest.Content{registrytest.ReferrersTag(other.Digest): list(sbom)}, nil, nil, false},
		"image_at_tag":            {map[string]registrytest.Content{tag: image}, []registrytest.Content{sbom}, sorted(sbom), true},
		"docker_list_at_tag":      {map[string]registrytest.Content{tag: registrytest.DockerList("a")}, nil, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			contents := map[string]registrytest.Content{"1": image}
			maps.Copy(contents, test.tagged)
			dir := withUnnamed(t, contents, test.unnamed)
			for form, path := range map[string]string{"folder": dir, "tar": registrytest.Tar(t, dir)} {
				l := open(t, path)
				for range 2 { // the second time, the subjects are cached
					listing, err := l.ListReferrers(t.Context(), image.Digest)
					if err != nil || !slices.Equal(digestsOf(listing), test.want) || listing.Tag != tag || (listing.Held.Digest != "") != test.hasTag {
						t.Errorf("%s: ListReferrers() = %v, tag %q with %q, %v, want %v", form, digestsOf(listing), listing.Tag, listing.Held.Digest, err, test.want)
					}
				}
			}
		})
	}
}

func TestListReferrers_SHA512(t *testing.T) {
	image := registrytest.Image{Seed: "a", Algorithm: digest.SHA512}.Build()
	sbom, other := registrytest.Artifact{Seed: "sbom", Subject: image}.Build(), registrytest.Artifact{Seed: "other", Subject: image}.Build()
	l := open(t, registrytest.Layout(t, map[string]registrytest.Content{"": sbom, "sha512-" + image.Digest.Encoded()[:64]: registrytest.Index{Manifests: []registrytest.Content{other}}}))
	listing, err := l.ListReferrers(t.Context(), image.Digest)
	if err != nil || !slices.Equal(digestsOf(listing), sorted(sbom, other)) {
		t.Errorf("ListReferrers() = %v, %v", digestsOf(listing), err)
	}
}

func TestListReferrers_DamagedEntry(t *testing.T) {
	image := registrytest.Image{Seed: "a"}.Build()
	sbom := registrytest.Artifact{Seed: "sbom", Subject: image}.Build()
	damaged := registrytest.Artifact{Seed: "damaged", Subject: image}.Build()
	for name, damage := range map[string]func(t *testing.T, dir string){
		"missing": func(t *testing.T, dir string) { remove(t, dir+"/"+registrytest.BlobFile(damaged.Digest)) },
		"corrupt": func(t *testing.T, dir string) {
			registrytest.WriteFile(t, dir, registrytest.BlobFile(damaged.Digest), []byte("{}"))
		},
		"too_large": func(t *testing.T, dir string) {
			registrytest.WriteFile(t, dir, registrytest.BlobFile(damaged.Digest), []byte(strings.Repeat(" ", 4<<20+1)))
		},
		"folder": func(t *testing.T, dir string) {
			remove(t, dir+"/"+registrytest.BlobFile(damaged.Digest))
			registrytest.WriteFile(t, dir, registrytest.BlobFile(damaged.Digest)+"/x", nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image, "sbom": sbom, "damaged": damaged})
			damage(t, dir)
			listing, err := open(t, dir).ListReferrers(t.Context(), image.Digest)
			if err != nil || !slices.Equal(digestsOf(listing), sorted(sbom)) {
				t.Errorf("ListReferrers() = %v, %v", digestsOf(listing), err)
			}
		})
	}
}

func TestListReferrers_DamagedIndex(t *testing.T) {
	image := registrytest.Image{Seed: "a"}.Build()
	sbom := registrytest.Artifact{Seed: "sbom", Subject: image}.Build()
	raw := func(content string) registrytest.Content {
		return registrytest.Raw{MediaType: ocispec.MediaTypeImageIndex, Bytes: []byte(content)}
	}
	for name, test := range map[string]struct {
		list   registrytest.Content
		damage func(t *testing.T, dir string, list digest.Digest)
		want   error
	}{
		"missing": {raw("{}"), func(t *testing.T, dir string, list digest.Digest) { remove(t, dir+"/"+registrytest.BlobFile(list)) }, registry.ErrNotFound},
		"corrupt": {raw("{}"), func(t *testing.T, dir string, list digest.Digest) {
			registrytest.WriteFile(t, dir, registrytest.BlobFile(list), []byte("[]"))
		}, registry.ErrMismatch},
		"digest_with_path": {raw(`{"manifests":[{"digest":"sha256:../../x","size":1}]}`), nil, registry.ErrInvalidManifest},
		"too_many_entries": {raw(`{"manifests":[` + strings.Repeat("{},", 10_000) + `{}]}`), nil, registry.ErrLimit},
		"duplicate_tag": {raw("{}"), func(t *testing.T, dir string, list digest.Digest) {
			tag := `"annotations":{"` + ocispec.AnnotationRefName + `":"` + registrytest.ReferrersTag(image.Digest) + `"}`
			registrytest.WriteFile(t, dir, ocispec.ImageIndexFile, fmt.Appendf(nil, `{"manifests":[{"digest":%q,"size":1,%s},{"digest":%q,"size":1,%[2]s}]}`, list, tag, sbom.Digest))
		}, registry.ErrInvalidReference},
	} {
		t.Run(name, func(t *testing.T) {
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image, "sbom": sbom, registrytest.ReferrersTag(image.Digest): test.list})
			if test.damage != nil {
				test.damage(t, dir, test.list.Build().Digest)
			}
			listing, err := open(t, dir).ListReferrers(t.Context(), image.Digest)
			assertError(t, err, "cannot list the referrers of "+image.Digest.String())
			if !errors.Is(err, test.want) || len(listing.Referrers) != 0 {
				t.Errorf("ListReferrers() = %v, %v, want %v", digestsOf(listing), err, test.want)
			}
		})
	}
}

func TestListReferrers_ManyEntries(t *testing.T) {
	const most = 10_000
	subject := digest.FromString("subject")
	dir := registrytest.Layout(t, nil)
	var entries []string
	for i := range most {
		content := fmt.Appendf(nil, `{"mediaType":%q,"subject":{"digest":%q,"size":7},"layers":[],"annotations":{"i":"%d"}}`, ocispec.MediaTypeImageManifest, subject, i)
		registrytest.WriteFile(t, dir, registrytest.BlobFile(digest.FromBytes(content)), content)
		entries = append(entries, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, ocispec.MediaTypeImageManifest, digest.FromBytes(content), len(content)))
	}
	registrytest.WriteFile(t, dir, ocispec.ImageIndexFile, []byte(`{"manifests":[`+strings.Join(entries, ",")+`]}`))
	l := open(t, dir)
	ctx := &cancelsAfter{Context: context.WithoutCancel(t.Context()), left: 100}
	if _, err := l.ListReferrers(ctx, subject); !errors.Is(err, context.Canceled) {
		t.Errorf("ListReferrers() = %v, want %v", err, context.Canceled)
	}
	listing, err := l.ListReferrers(t.Context(), subject)
	if err != nil || len(listing.Referrers) != most {
		t.Errorf("ListReferrers() = %d referrers, %v, want %d", len(listing.Referrers), err, most)
	}
	registrytest.WriteFile(t, dir, ocispec.ImageIndexFile, []byte(`{"manifests":[`+strings.Join(append(entries, entries[0]), ",")+`]}`))
	if _, err := l.ListReferrers(t.Context(), subject); err == nil || !strings.Contains(err.Error(), "more than 10000 entries") {
		t.Errorf("ListReferrers() = %v, want a limit error", err)
	}
}

// cancelsAfter is a context that is canceled after Err was called left times.
type cancelsAfter struct {
	context.Context
	left int
}

func (c *cancelsAfter) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestListReferrers_InvalidDigest(t *testing.T) {
	l := open(t, registrytest.Layout(t, nil))
	for _, d := range []digest.Digest{"", "1", "sha256:abc", "sha256:../../x"} {
		if _, err := l.ListReferrers(t.Context(), d); !errors.Is(err, registry.ErrInvalidReference) {
			t.Errorf("ListReferrers(%q) = %v, want ErrInvalidReference", d, err)
		}
	}
}
