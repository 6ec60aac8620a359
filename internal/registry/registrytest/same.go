package registrytest

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Same fails the test if two trees differ in any byte, media type or digest, and reports each
// difference.
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
	for _, d := range unionKeys(want.Manifests, got.Manifests) {
		w, inWant := want.Manifests[d]
		g, exists := got.Manifests[d]
		switch {
		case !inWant:
			found = append(found, fmt.Sprintf("manifest %s (%s) is there and should not be", d, g.MediaType))
		case !exists:
			found = append(found, fmt.Sprintf("manifest %s (%s) is missing", d, w.MediaType))
		case w.MediaType != g.MediaType:
			found = append(found, fmt.Sprintf("manifest %s is a %s, want %s", d, g.MediaType, w.MediaType))
		case w.Content != g.Content:
			found = append(found, fmt.Sprintf("manifest %s has other bytes:\n got: %q\nwant: %q", d, g.Content, w.Content))
		}
	}
	for _, d := range unionKeys(want.Blobs, got.Blobs) {
		w, inWant := want.Blobs[d]
		g, exists := got.Blobs[d]
		switch {
		case !inWant:
			found = append(found, fmt.Sprintf("blob %s (%d bytes) is there and should not be", d, g.Size))
		case !exists:
			found = append(found, fmt.Sprintf("blob %s (%d bytes) is missing", d, w.Size))
		case w != g:
			found = append(found, fmt.Sprintf("blob %s has %d bytes with the sha256 %s, want %d with %s", d, g.Size, g.SHA256, w.Size, w.SHA256))
		}
	}
	return found
}

// unionKeys returns the sorted keys of two maps.
func unionKeys[V any](a, b map[digest.Digest]V) []digest.Digest {
	keys := maps.Clone(a)
	if keys == nil {
		keys = map[digest.Digest]V{}
	}
	maps.Copy(keys, b)
	return slices.Sorted(maps.Keys(keys))
}
