package registrytest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestRegistry_TagsAndDeletion(t *testing.T) {
	everyRegistry(t, func(t *testing.T, kind string, start starter) {
		reg := start(t)
		if tags := reg.Tags(t, "app"); tags != nil {
			t.Errorf("Tags() of a missing repository = %v, want none", tags)
		}
		if d := reg.Digest(t, "app", "1.0"); d != "" {
			t.Errorf("Digest() of a missing tag = %s, want none", d)
		}
		first := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
		second := reg.Push(t, "app", "2.0", registrytest.Image{Seed: "b", Docker: true})
		reg.Retag(t, "app", "2.0", "latest")
		reg.Retag(t, "app", string(first.Digest), "stable")
		if got, want := reg.Tags(t, "app"), []string{"1.0", "2.0", "latest", "stable"}; !slices.Equal(got, want) {
			t.Errorf("Tags() = %v, want %v", got, want)
		}
		for tag, want := range map[string]digest.Digest{"1.0": first.Digest, "stable": first.Digest, "2.0": second.Digest, "latest": second.Digest, "none": ""} {
			if got := reg.Digest(t, "app", tag); got != want {
				t.Errorf("Digest(%s) = %s, want %s", tag, got, want)
			}
		}

		failure := failures(t, func(t testing.TB) { reg.DeleteTag(t, "app", "stable") })
		if can := kind != "v2"; (failure == "") != can || reg.HasManifest(t, "app", "stable") == can {
			t.Errorf("DeleteTag() failure = %q", failure)
		}
		if !reg.HasManifest(t, "app", string(first.Digest)) {
			t.Error("DeleteTag() deleted the manifest")
		}
		reg.DeleteManifest(t, "app", first.Digest)
		if reg.HasManifest(t, "app", string(first.Digest)) || reg.Digest(t, "app", "1.0") != "" {
			t.Error("DeleteManifest() did not delete the manifest")
		}
		blob := second.Blobs[1].Descriptor().Digest
		reg.DeleteBlob(t, "app", blob)
		if reg.HasBlob(t, "app", blob) {
			t.Error("DeleteBlob() did not delete the blob")
		}
		if a := reg.PutManifest(t, "app", "again", second.Manifest); a.Status != 400 || !strings.Contains(string(a.Body), "MANIFEST_BLOB_UNKNOWN") {
			t.Errorf("PutManifest() with a deleted blob = %s, want MANIFEST_BLOB_UNKNOWN", a)
		}
	})
}
