package copier_test

import (
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// smallIndex returns an index of one image with one layer.
func smallIndex(seed string) registrytest.Index {
	return registrytest.Index{Manifests: []registrytest.Content{
		registrytest.Image{Seed: seed, Layers: []registrytest.Blob{registrytest.Layer(seed+" layer", 5000)}},
	}}
}

func TestCopy_ResumesDownload(t *testing.T) {
	t.Parallel()
	const size = 3 << 20
	from, to := registrytest.Intercept(t, registrytest.V3(t)), registrytest.Intercept(t, registrytest.V2(t))
	layer := registrytest.Layer("large", size)
	pushed := from.Push(t, "app", "1", registrytest.Image{Seed: "a", Layers: []registrytest.Blob{layer}})
	d := string(layer.Descriptor().Digest)
	from.On("GET", "/v2/app/blobs/"+d).Times(3).Cut(1 << 20)
	report := newEngine(t).copy(t, from.Ref("app", "1"), to.Ref("app", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "app", "1"))
	var ranges []string
	for _, r := range from.Requests() {
		if r.Path == "/v2/app/blobs/"+d {
			ranges = append(ranges, r.Header.Get("Range"))
		}
	}
	// The number of bytes received before a connection closes varies.
	if len(ranges) < 3 || ranges[0] != "" || ranges[1] == "" || ranges[2] == ranges[1] {
		t.Errorf("requests for the blob have the ranges %q, want increasing ranges after the first", ranges)
	}
	if n := to.Count("PUT", "/v2/app/blobs/uploads/.*"); n != 2 {
		t.Errorf("destination received %d uploads, want 2", n)
	}
	if report.Copied.Bytes < size || report.Retries == 0 {
		t.Errorf("Copy() report = %+v, want at least %d bytes copied and a retry", report, size)
	}
}
