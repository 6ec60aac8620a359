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

// listed are the digests on a listing, in order.
func listed(l registry.ReferrerList) (all []digest.Digest) {
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

// withUnnamed is a layout whose index holds some contents without a name too.
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

func TestReferrersOfALayoutAreFoundByTheirSubjectAndByTheTag(t *testing.T) {
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
		held    bool
	}{
		"none":                      {nil, nil, nil, false},
		"by their subject, as oras": {nil, []registrytest.Content{sbom, signature, old, index, other}, sorted(sbom, signature, old, index), false},
		"by the tag, as regctl":     {map[string]registrytest.Content{tag: list(sbom, signature)}, nil, sorted(sbom, signature), true},
		"by both, once":             {map[string]registrytest.Content{tag: list(sbom, signature)}, []registrytest.Content{sbom, old, sbom}, sorted(sbom, signature, old), true},
		"under a tag of their own":  {map[string]registrytest.Content{"sbom": sbom}, nil, sorted(sbom), false},
		"the tag of another digest": {map[string]registrytest.Content{registrytest.ReferrersTag(other.Digest): list(sbom)}, nil, nil, false},
		"an image under the tag":    {map[string]registrytest.Content{tag: image}, []registrytest.Content{sbom}, sorted(sbom), true},
		"a Docker list under it":    {map[string]registrytest.Content{tag: registrytest.DockerList("a")}, nil, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			contents := map[string]registrytest.Content{"1": image}
			maps.Copy(contents, test.tagged)
			dir := withUnnamed(t, contents, test.unnamed)
			for form, path := range map[string]string{"folder": dir, "tar": registrytest.Tar(t, dir)} {
				l := open(t, path)
				for range 2 { // the second time subjects are known
					listing, err := l.ListReferrers(t.Context(), image.Digest)
					if err != nil || !slices.Equal(listed(listing), test.want) || listing.Tag != tag || (listing.Held.Digest != "") != test.held {
						t.Errorf("%s: %v are listed under %q, which holds %q, %v, want %v", form, listed(listing), listing.Tag, listing.Held.Digest, err, test.want)
					}
				}
			}
		})
	}
}

func TestReferrersOfASHA512DigestAreFound(t *testing.T) {
	image := registrytest.Image{Seed: "a", Algorithm: digest.SHA512}.Build()
	sbom, other := registrytest.Artifact{Seed: "sbom", Subject: image}.Build(), registrytest.Artifact{Seed: "other", Subject: image}.Build()
	l := open(t, registrytest.Layout(t, map[string]registrytest.Content{"": sbom, "sha512-" + image.Digest.Encoded()[:64]: registrytest.Index{Manifests: []registrytest.Content{other}}}))
	listing, err := l.ListReferrers(t.Context(), image.Digest)
	if err != nil || !slices.Equal(listed(listing), sorted(sbom, other)) {
		t.Errorf("%v, %v", listed(listing), err)
	}
}

func TestADamagedEntryHidesNoReferrer(t *testing.T) {
	image := registrytest.Image{Seed: "a"}.Build()
	sbom := registrytest.Artifact{Seed: "sbom", Subject: image}.Build()
	damaged := registrytest.Artifact{Seed: "damaged", Subject: image}.Build()
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"not there": func(t *testing.T, dir string) { remove(t, dir+"/"+registrytest.BlobFile(damaged.Digest)) },
		"other bytes": func(t *testing.T, dir string) {
			registrytest.WriteFile(t, dir, registrytest.BlobFile(damaged.Digest), []byte("{}"))
		},
		"too large": func(t *testing.T, dir string) {
			registrytest.WriteFile(t, dir, registrytest.BlobFile(damaged.Digest), []byte(strings.Repeat(" ", 4<<20+1)))
		},
		"a folder": func(t *testing.T, dir string) {
			remove(t, dir+"/"+registrytest.BlobFile(damaged.Digest))
			registrytest.WriteFile(t, dir, registrytest.BlobFile(damaged.Digest)+"/x", nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image, "sbom": sbom, "damaged": damaged})
			spoil(t, dir)
			listing, err := open(t, dir).ListReferrers(t.Context(), image.Digest)
			if err != nil || !slices.Equal(listed(listing), sorted(sbom)) {
				t.Errorf("%v, %v", listed(listing), err)
			}
		})
	}
}

func TestADamagedListIsAnErrorAndNotAShorterList(t *testing.T) {
	image := registrytest.Image{Seed: "a"}.Build()
	sbom := registrytest.Artifact{Seed: "sbom", Subject: image}.Build()
	raw := func(content string) registrytest.Content {
		return registrytest.Raw{MediaType: ocispec.MediaTypeImageIndex, Bytes: []byte(content)}
	}
	for name, test := range map[string]struct {
		list  registrytest.Content
		spoil func(t *testing.T, dir string, list digest.Digest)
		want  error
	}{
		"not there": {raw("{}"), func(t *testing.T, dir string, list digest.Digest) { remove(t, dir+"/"+registrytest.BlobFile(list)) }, registry.ErrNotFound},
		"other bytes": {raw("{}"), func(t *testing.T, dir string, list digest.Digest) {
			registrytest.WriteFile(t, dir, registrytest.BlobFile(list), []byte("[]"))
		}, registry.ErrMismatch},
		"a digest climbs":  {raw(`{"manifests":[{"digest":"sha256:../../x","size":1}]}`), nil, registry.ErrInvalidManifest},
		"too many entries": {raw(`{"manifests":[` + strings.Repeat("{},", 10_000) + `{}]}`), nil, registry.ErrLimit},
		"the name is there twice": {raw("{}"), func(t *testing.T, dir string, list digest.Digest) {
			tag := `"annotations":{"` + ocispec.AnnotationRefName + `":"` + registrytest.ReferrersTag(image.Digest) + `"}`
			registrytest.WriteFile(t, dir, ocispec.ImageIndexFile, fmt.Appendf(nil, `{"manifests":[{"digest":%q,"size":1,%s},{"digest":%q,"size":1,%[2]s}]}`, list, tag, sbom.Digest))
		}, registry.ErrInvalidReference},
	} {
		t.Run(name, func(t *testing.T) {
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image, "sbom": sbom, registrytest.ReferrersTag(image.Digest): test.list})
			if test.spoil != nil {
				test.spoil(t, dir, test.list.Build().Digest)
			}
			listing, err := open(t, dir).ListReferrers(t.Context(), image.Digest)
			says(t, err, "cannot list the referrers of "+image.Digest.String())
			if !errors.Is(err, test.want) || len(listing.Referrers) != 0 {
				t.Errorf("%v, %v, want %v", listed(listing), err, test.want)
			}
		})
	}
}

func TestALayoutOfTenThousandReferrersIsListedAndCanBeCancelled(t *testing.T) {
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
	ctx := &endsLater{Context: context.WithoutCancel(t.Context()), left: 100}
	if _, err := l.ListReferrers(ctx, subject); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	listing, err := l.ListReferrers(t.Context(), subject)
	if err != nil || len(listing.Referrers) != most {
		t.Errorf("%d are listed, %v", len(listing.Referrers), err)
	}
	registrytest.WriteFile(t, dir, ocispec.ImageIndexFile, []byte(`{"manifests":[`+strings.Join(append(entries, entries[0]), ",")+`]}`))
	if _, err := l.ListReferrers(t.Context(), subject); err == nil || !strings.Contains(err.Error(), "more than 10000 entries") {
		t.Errorf("%v", err)
	}
}

// endsLater is a context that is cancelled when it was looked at often enough.
type endsLater struct {
	context.Context
	left int
}

func (c *endsLater) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestReferrersOfWhatIsNoDigestAreNotLookedFor(t *testing.T) {
	l := open(t, registrytest.Layout(t, nil))
	for _, d := range []digest.Digest{"", "1", "sha256:abc", "sha256:../../x"} {
		if _, err := l.ListReferrers(t.Context(), d); !errors.Is(err, registry.ErrInvalidReference) {
			t.Errorf("%q: %v", d, err)
		}
	}
}
