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
	indexType = "application/vnd.oci.image.index.v1+json"
	imageType = "application/vnd.oci.image.manifest.v1+json"
)

// indexes is a repository that holds manifests alone.
type indexes struct {
	registry.Repository
	manifests map[string]registry.Manifest
}

func (r indexes) GetManifest(_ context.Context, reference string) (registry.Manifest, error) {
	if m, is := r.manifests[reference]; is {
		return m, nil
	}
	return registry.Manifest{}, &registry.Error{Op: "fetch the manifest", Reference: reference, Kind: registry.ErrNotFound}
}

// put adds an index of children, by digest and media type.
func (r indexes) put(t *testing.T, annotation string, children ...string) digest.Digest {
	t.Helper()
	entries := []string{}
	for _, child := range children {
		d, mediaType, _ := strings.Cut(child, " ")
		entries = append(entries, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":1}`, mediaType, d))
	}
	m, err := registry.NewManifest(indexType, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s],"annotations":{"name":%q}}`,
		indexType, strings.Join(entries, ","), annotation), digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	r.manifests[m.Digest.String()] = m
	return m.Digest
}

func TestSiblings_Keep(t *testing.T) {
	t.Parallel()
	child, other, missing := digest.FromString("child"), digest.FromString("other"), digest.FromString("missing")
	image := func(d digest.Digest) string { return d.String() + " " + imageType }
	index := func(d digest.Digest) string { return d.String() + " " + indexType }
	for name, c := range map[string]struct {
		siblings func(r indexes) siblings
		reason   string // "" for a manifest that may be deleted
	}{
		"nothing_else": {func(indexes) siblings { return siblings{} }, ""},
		"named": {func(indexes) siblings {
			return siblings{child: {imageType, []string{"a", "b"}}}
		}, "is also named by other tags: a and b"},
		"listed": {func(r indexes) siblings {
			return siblings{r.put(t, "", image(other), image(child)): {indexType, []string{"v1"}}}
		}, "is part of an index that other tags name: v1"},
		"listed_by_unknown_type": {func(r indexes) siblings {
			return siblings{r.put(t, "", image(child)): {"", []string{"v1"}}}
		}, "is part of an index that other tags name: v1"},
		"listed_by_nested_index": {func(r indexes) siblings {
			nested := r.put(t, "nested", image(child))
			return siblings{r.put(t, "", index(nested)): {indexType, []string{"v1"}}}
		}, "is part of an index that other tags name: v1"},
		"not_listed": {func(r indexes) siblings {
			return siblings{r.put(t, "", image(other)): {indexType, []string{"v1"}}}
		}, ""},
		"image_is_not_read": {func(indexes) siblings {
			return siblings{missing: {imageType, []string{"v1"}}}
		}, ""},
		"index_is_about_to_be_put": {func(indexes) siblings {
			return siblings{missing: {indexType, []string{"v1"}}}
		}, "may be part of an index that another tag names: " + missing.String() + ", which is named by v1, is not there yet"},
		"nested_index_is_missing": {func(r indexes) siblings {
			return siblings{r.put(t, "", index(missing)): {indexType, []string{"v1"}}}
		}, ""},
		"index_is_invalid": {func(r indexes) siblings {
			r.manifests[missing.String()] = registry.Manifest{MediaType: indexType, Digest: missing, Content: []byte(`{`)}
			return siblings{missing: {indexType, []string{"v1"}}}
		}, "may be part of an index that another tag names: " + missing.String() + ", which is named by v1, cannot be read"},
		"nested_too_deep": {func(r indexes) siblings {
			nested := r.put(t, "", image(child))
			for range maxIndexDepth {
				nested = r.put(t, "", index(nested))
			}
			return siblings{nested: {indexType, []string{"v1"}}}
		}, fmt.Sprintf("may be part of an index that another tag names: indexes are nested deeper than %d", maxIndexDepth)},
		"too_many": {func(r indexes) siblings {
			s := siblings{}
			for i := range maxIndexes + 1 {
				s[r.put(t, fmt.Sprint(i), image(other))] = sibling{indexType, []string{fmt.Sprint(i)}}
			}
			return s
		}, "may be part of an index that another tag names: there are more indexes than are read"},
		"too_large": {func(r indexes) siblings {
			s := siblings{}
			content := []byte(`{"schemaVersion":2,"manifests":[]}` + strings.Repeat(" ", maxIndexBytes/maxIndexesRead))
			for i := range 3 * maxIndexesRead {
				d := digest.FromString(fmt.Sprint(i))
				r.manifests[d.String()] = registry.Manifest{MediaType: indexType, Digest: d, Content: content}
				s[d] = sibling{indexType, []string{fmt.Sprint(i)}}
			}
			return s
		}, "may be part of an index that another tag names: there are more indexes than are read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := indexes{manifests: map[string]registry.Manifest{}}
			kept, err := c.siblings(r).keep(t.Context(), r, []digest.Digest{child})
			if err != nil {
				t.Fatal(err)
			}
			if got := kept[child]; got != c.reason && (c.reason == "" || !strings.HasPrefix(got, c.reason)) {
				t.Errorf("keep() reason = %q, want %q", got, c.reason)
			}
		})
	}
}
