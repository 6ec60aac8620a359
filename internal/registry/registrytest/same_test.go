package registrytest_test

import (
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestSame_ReportsEveryDifference(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	full := reg.Push(t, "app", "1.0", registrytest.MultiArch("a")).Tree
	image := reg.Push(t, "app", "1.1", registrytest.Image{Seed: "b"}).Tree
	if failure := failures(t, func(t testing.TB) { registrytest.Same(t, full, reg.Read(t, "app", "1.0")) }); failure != "" {
		t.Errorf("Same() of equal trees failed: %s", failure)
	}
	failure := failures(t, func(t testing.TB) { registrytest.Same(t, full, image) })
	if missing := strings.Count(failure, "is missing"); missing != len(full.Manifests)+len(full.Blobs) || !strings.Contains(failure, "the root is") {
		t.Errorf("Same() reported %d missing, want all %d and %d:\n%s", missing, len(full.Manifests), len(full.Blobs), failure)
	}
	if extra := strings.Count(failure, "should not be"); extra != 4 {
		t.Errorf("Same() reported %d unexpected, want the image, its config and two layers:\n%s", extra, failure)
	}

	changed := reg.Read(t, "app", "1.0")
	m := changed.Manifests[changed.Root]
	changed.Manifests[changed.Root] = registrytest.ReadManifest{MediaType: "text/plain", Content: m.Content}
	if failure := failures(t, func(t testing.TB) { registrytest.Same(t, full, changed) }); !strings.Contains(failure, "is a text/plain, want application/vnd.oci.image.index") {
		t.Errorf("Same() of a changed media type = %q", failure)
	}
	changed.Manifests[changed.Root] = registrytest.ReadManifest{MediaType: m.MediaType, Content: m.Content + " "}
	for d, b := range changed.Blobs {
		changed.Blobs[d] = registrytest.ReadBlob{SHA256: b.SHA256, Size: b.Size + 1}
		break
	}
	failure = failures(t, func(t testing.TB) { registrytest.Same(t, full, changed) })
	if !strings.Contains(failure, "has other bytes") || !strings.Contains(failure, "bytes with the sha256") {
		t.Errorf("Same() of changed bytes = %q", failure)
	}
}
