package registrytest_test

import (
	"io"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestBlob_DigestAlgorithm(t *testing.T) {
	for _, b := range []registrytest.Blob{registrytest.Layer("a", 50), {Content: []byte("x")}} {
		content, err := io.ReadAll(b.Open())
		if err != nil {
			t.Fatal(err)
		}
		for _, algorithm := range []digest.Algorithm{digest.SHA512, digest.SHA256} {
			b.Algorithm = algorithm
			for range 2 { // the second time, the digest is cached
				if d := b.Descriptor(); d.Digest != algorithm.FromBytes(content) || d.Size != int64(len(content)) {
					t.Errorf("Descriptor() with %s = %+v", algorithm, d)
				}
			}
		}
	}
}
