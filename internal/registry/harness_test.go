package registry_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	ociIndex         = "application/vnd.oci.image.index.v1+json"
	ociImage         = "application/vnd.oci.image.manifest.v1+json"
	ociArtifact      = "application/vnd.oci.artifact.manifest.v1+json"
	dockerList       = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerImage      = "application/vnd.docker.distribution.manifest.v2+json"
	dockerSchema1    = "application/vnd.docker.distribution.manifest.v1+json"
	dockerSchema1JWS = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

const unknownType = "application/vnd.acme.thing+json"

var (
	sum256 = digest.SHA256.FromString("an image")
	sum384 = digest.SHA384.FromString("an image")
	sum512 = digest.SHA512.FromString("an image")
)

// Descriptors as JSON.
var (
	config = descriptorJSON("application/vnd.oci.image.config.v1+json", "config")
	layer  = descriptorJSON("application/vnd.oci.image.layer.v1.tar+gzip", "layer")
	child  = descriptorJSON(ociImage, "child")
)

// descriptorJSON returns the descriptor of content as JSON.
func descriptorJSON(mediaType, content string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digest.FromString(content), len(content))
}

// descriptorOf returns the descriptor of content.
func descriptorOf(mediaType, content string) registry.Descriptor {
	return registry.Descriptor{MediaType: mediaType, Digest: digest.FromString(content), Size: int64(len(content))}
}

// newManifest returns a manifest as received from a registry.
func newManifest(t *testing.T, contentType, content string) registry.Manifest {
	t.Helper()
	m, err := registry.NewManifest(contentType, []byte(content), "")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// assertError checks that err is an *Error of one kind, and that its text is one
// line that contains all of words.
func assertError(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	var e *registry.Error
	if !errors.As(err, &e) {
		t.Fatalf("error = %v, want an *Error of kind %q", err, kind)
	}
	if !errors.Is(e.Kind, kind) {
		t.Errorf("Kind of %q = %q, want %q", e, e.Kind, kind)
	}
	text := e.Error()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("Error() = %q, want it to contain %q", text, word)
		}
	}
	if strings.ContainsAny(text, "\r\n\x00\x1b") {
		t.Errorf("Error() = %q, want one sanitized line", text)
	}
}

// allocated returns how many bytes f allocates in total, including freed memory.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
