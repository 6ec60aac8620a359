package provider

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	ociIndexType = "application/vnd.oci.image.index.v1+json"
	ociImageType = "application/vnd.oci.image.manifest.v1+json"
)

// indexRepository is a repository that contains manifests only.
type indexRepository struct {
	registry.Repository
	manifests map[string]registry.Manifest
}

func (r indexRepository) GetManifest(_ context.Context, reference string) (registry.Manifest, error) {
	if m, is := r.manifests[reference]; is {
		return m, nil
	}
	return registry.Manifest{}, &registry.Error{Op: "fetch the manifest", Reference: reference, Kind: registry.ErrNotFound}
}

// addIndex adds an index. Each child is a digest and a media type.
func (r indexRepository) addIndex(t *testing.T, annotation string, children ...string) digest.Digest {
	t.Helper()
	entries := []string{}
	for _, child := range children {
		d, mediaType, _ := strings.Cut(child, " ")
		entries = append(entries, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":1}`, mediaType, d))
	}
	m, err := registry.NewManifest(ociIndexType, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s],"annotations":{"name":%q}}`,
		ociIndexType, strings.Join(entries, ","), annotation), digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	r.manifests[m.Digest.String()] = m
	return m.Digest
}

var childDigest, otherDigest, missingDigest = digest.FromString("childDigest"), digest.FromString("otherDigest"), digest.FromString("missingDigest")

func imageEntry(d digest.Digest) string { return d.String() + " " + ociImageType }
func indexEntry(d digest.Digest) string { return d.String() + " " + ociIndexType }

// keepCase is a repository that contains childDigest and siblings.
type keepCase struct {
	siblings func(r indexRepository) siblings
	reason   string // "" if the manifest may be deleted
}

func (c keepCase) run(t *testing.T) {
	t.Parallel()
	r := indexRepository{manifests: map[string]registry.Manifest{}}
	kept, err := c.siblings(r).keepReasons(t.Context(), r, []digest.Digest{childDigest})
	if err != nil {
		t.Fatal(err)
	}
	if got := kept[childDigest]; got != c.reason && (c.reason == "" || !strings.HasPrefix(got, c.reason)) {
		t.Errorf("keepReasons() reason = %q, want %q", got, c.reason)
	}
}

func TestSiblings_KeepReasons(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]keepCase{
		"nothing_else": {func(indexRepository) siblings { return siblings{} }, ""},
		"named": {func(indexRepository) siblings {
			return siblings{childDigest: {ociImageType, []string{"a", "b"}}}
		}, "is also named by other tags: a and b"},
		"listed": {func(r indexRepository) siblings {
			return siblings{r.addIndex(t, "", imageEntry(otherDigest), imageEntry(childDigest)): {ociIndexType, []string{"v1"}}}
		}, "is part of an index that other tags name: v1"},
		"listed_by_unknown_type": {func(r indexRepository) siblings {
			return siblings{r.addIndex(t, "", imageEntry(childDigest)): {"", []string{"v1"}}}
		}, "is part of an index that other tags name: v1"},
		"listed_by_nested_index": {func(r indexRepository) siblings {
			nested := r.addIndex(t, "nested", imageEntry(childDigest))
			return siblings{r.addIndex(t, "", indexEntry(nested)): {ociIndexType, []string{"v1"}}}
		}, "is part of an index that other tags name: v1"},
		"not_listed": {func(r indexRepository) siblings {
			return siblings{r.addIndex(t, "", imageEntry(otherDigest)): {ociIndexType, []string{"v1"}}}
		}, ""},
		"image_is_not_read": {func(indexRepository) siblings {
			return siblings{missingDigest: {ociImageType, []string{"v1"}}}
		}, ""},
		"index_not_written_yet": {func(indexRepository) siblings {
			return siblings{missingDigest: {ociIndexType, []string{"v1"}}}
		}, "may be part of an index that another tag names: " + missingDigest.String() + ", which is named by v1, is not there yet"},
		"nested_index_is_missing": {func(r indexRepository) siblings {
			return siblings{r.addIndex(t, "", indexEntry(missingDigest)): {ociIndexType, []string{"v1"}}}
		}, ""},
		"index_is_invalid": {func(r indexRepository) siblings {
			r.manifests[missingDigest.String()] = registry.Manifest{MediaType: ociIndexType, Digest: missingDigest, Content: []byte(`{`)}
			return siblings{missingDigest: {ociIndexType, []string{"v1"}}}
		}, "may be part of an index that another tag names: " + missingDigest.String() + ", which is named by v1, cannot be read"},
	} {
		t.Run(name, c.run)
	}
}

// TestSiblings_KeepReasonsLimits checks that a manifest is not deleted if a limit is exceeded.
func TestSiblings_KeepReasonsLimits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]keepCase{
		"nested_too_deep": {func(r indexRepository) siblings {
			nested := r.addIndex(t, "", imageEntry(childDigest))
			for range maxIndexDepth {
				nested = r.addIndex(t, "", indexEntry(nested))
			}
			return siblings{nested: {ociIndexType, []string{"v1"}}}
		}, fmt.Sprintf("may be part of an index that another tag names: indexes are nested deeper than %d", maxIndexDepth)},
		"too_many": {func(r indexRepository) siblings {
			s := siblings{}
			for i := range maxIndexes + 1 {
				s[r.addIndex(t, fmt.Sprint(i), imageEntry(otherDigest))] = sibling{ociIndexType, []string{fmt.Sprint(i)}}
			}
			return s
		}, "may be part of an index that another tag names: there are more indexes than are read"},
		"too_large": {func(r indexRepository) siblings {
			s := siblings{}
			content := []byte(`{"schemaVersion":2,"manifests":[]}` + strings.Repeat(" ", maxIndexBytes/maxIndexesRead))
			for i := range 3 * maxIndexesRead {
				d := digest.FromString(fmt.Sprint(i))
				r.manifests[d.String()] = registry.Manifest{MediaType: ociIndexType, Digest: d, Content: content}
				s[d] = sibling{ociIndexType, []string{fmt.Sprint(i)}}
			}
			return s
		}, "may be part of an index that another tag names: there are more indexes than are read"},
	} {
		t.Run(name, c.run)
	}
}
