package registrytest

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Same fails the test where two trees differ in any byte, media type or digest,
// and says in what.
func Same(t testing.TB, want, got Tree) {
	t.Helper()
	for _, difference := range want.differences(got) {
		t.Error(difference)
	}
}

func (want Tree) differences(got Tree) []string {
	var found []string
	if want.Root != got.Root {
		found = append(found, fmt.Sprintf("the root is %s, want %s", got.Root, want.Root))
	}
	for _, d := range both(want.Manifests, got.Manifests) {
		w, wanted := want.Manifests[d]
		g, there := got.Manifests[d]
		switch {
		case !wanted:
			found = append(found, fmt.Sprintf("manifest %s (%s) is there and should not be", d, g.MediaType))
		case !there:
			found = append(found, fmt.Sprintf("manifest %s (%s) is missing", d, w.MediaType))
		case w.MediaType != g.MediaType:
			found = append(found, fmt.Sprintf("manifest %s is a %s, want %s", d, g.MediaType, w.MediaType))
		case w.Content != g.Content:
			found = append(found, fmt.Sprintf("manifest %s has other bytes:\n got: %q\nwant: %q", d, g.Content, w.Content))
		}
	}
	for _, d := range both(want.Blobs, got.Blobs) {
		w, wanted := want.Blobs[d]
		g, there := got.Blobs[d]
		switch {
		case !wanted:
			found = append(found, fmt.Sprintf("blob %s (%d bytes) is there and should not be", d, g.Size))
		case !there:
			found = append(found, fmt.Sprintf("blob %s (%d bytes) is missing", d, w.Size))
		case w != g:
			found = append(found, fmt.Sprintf("blob %s has %d bytes with the sha256 %s, want %d with %s", d, g.Size, g.SHA256, w.Size, w.SHA256))
		}
	}
	return found
}

// both are the keys of two maps, in order.
func both[V any](a, b map[digest.Digest]V) []digest.Digest {
	keys := maps.Clone(a)
	if keys == nil {
		keys = map[digest.Digest]V{}
	}
	maps.Copy(keys, b)
	return slices.Sorted(maps.Keys(keys))
}
