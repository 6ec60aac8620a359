package remote_test

import (
	"math"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestRepository_InvalidDescriptor(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	repo := newClient(t).push(t, p.Ref("app", "1"))
	good := descriptor("content")
	for name, test := range map[string]struct {
		size int64
		kind error
	}{
		"negative":  {-1, registry.ErrInvalidManifest},
		"min_int64": {math.MinInt64, registry.ErrInvalidManifest},
		"zero":      {0, registry.ErrInvalidManifest},
		"max_int64": {math.MaxInt64, registry.ErrLimit},
	} {
		t.Run(name, func(t *testing.T) {
			d := registry.Descriptor{Digest: good.Digest, Size: test.size}
			_, err := repo.GetBlob(t.Context(), d)
			assertErrorKind(t, err, test.kind)
			_, err = repo.PutBlob(t.Context(), d, newBody(t, "content").get())
			assertErrorKind(t, err, test.kind)
		})
	}
	for _, d := range badDigests {
		_, err := repo.GetBlob(t.Context(), registry.Descriptor{Digest: d, Size: 1})
		assertErrorKind(t, err, registry.ErrInvalidManifest)
		_, err = repo.PutBlob(t.Context(), registry.Descriptor{Digest: d, Size: 1}, newBody(t, "x").get())
		assertErrorKind(t, err, registry.ErrInvalidManifest)
		_, err = repo.StatBlob(t.Context(), d)
		assertErrorKind(t, err, registry.ErrInvalidReference)
	}
	if n := len(p.Requests()); n != 0 {
		t.Errorf("requests = %+v, want none", p.Requests())
	}
}

// badDigests are malformed, or use an algorithm that is not supported.
var badDigests = []digest.Digest{
	"", "sha256:", "sha256:abc", "sha256:../../x", "md5:d41d8cd98f00b204e9800998ecf8427e",
	"sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", // upper case
	"SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	"sha256%3Ae3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", // percent-encoded
	"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85?",
}

func TestRepository_InvalidReference(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	repo := newClient(t).push(t, p.Ref("app", "1"))
	references := []string{
		"..", "a/b", "a//b", "a?b", "a#b", "a\rb", "a\nb", "a\x00", strings.Repeat("a", 129), "-a", ".a", "a b", "%2e",
		"https://example.com", "user@example.com",
	}
	for _, d := range badDigests {
		references = append(references, string(d))
	}
	for _, reference := range references {
		_, err := repo.GetManifest(t.Context(), reference)
		assertErrorKind(t, err, registry.ErrInvalidReference)
		_, err = repo.Resolve(t.Context(), reference)
		assertErrorKind(t, err, registry.ErrInvalidReference)
		assertErrorKind(t, repo.PutManifest(t.Context(), reference, registry.Manifest{}), registry.ErrInvalidReference)
		assertErrorKind(t, repo.DeleteTag(t.Context(), reference), registry.ErrInvalidReference)
		assertErrorKind(t, repo.DeleteManifest(t.Context(), digest.Digest(reference)), registry.ErrInvalidReference)
	}
	if n := len(p.Requests()); n != 0 {
		t.Errorf("requests = %+v, want none", p.Requests())
	}
}
