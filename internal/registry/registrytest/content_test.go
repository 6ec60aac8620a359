package registrytest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestBuild_Deterministic(t *testing.T) {
	for name, c := range contents {
		if a, b := c.content.Build(), c.content.Build(); a.Digest != b.Digest || !bytes.Equal(a.Bytes, b.Bytes) {
			t.Errorf("%s: two results of Build() differ", name)
		}
	}
	for _, b := range contents["sha512_blobs"].content.Build().Blobs {
		if algorithm := b.Descriptor().Digest.Algorithm(); algorithm != digest.SHA512 {
			t.Errorf("digest algorithm of a blob = %s, want %s", algorithm, digest.SHA512)
		}
	}
	if a, b := registrytest.Layer("a", 100).Descriptor(), registrytest.Layer("b", 100).Descriptor(); a.Digest == b.Digest {
		t.Error("blobs with different seeds have the same digest")
	}
	content, err := io.ReadAll(registrytest.Layer("a", 100_000).Open())
	if err != nil || len(content) != 100_000 {
		t.Errorf("Layer() has %d bytes, %v, want 100000", len(content), err)
	}
}

func TestBuild_UnusualJSON(t *testing.T) {
	for name, c := range contents {
		m := c.content.Build()
		var parsed map[string]any
		if err := json.Unmarshal(m.Bytes, &parsed); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, m.Bytes); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sorted, err := json.Marshal(parsed)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains([]digest.Digest{digest.FromBytes(compact.Bytes()), digest.FromBytes(sorted), digest.FromBytes(bytes.TrimSpace(m.Bytes))}, m.Digest) {
			t.Errorf("%s: the digest is the same after encoding again", name)
		}
		if !bytes.Contains(m.Bytes, []byte(`\/`)) {
			t.Errorf("%s: slashes are not escaped", name)
		}
	}
}
