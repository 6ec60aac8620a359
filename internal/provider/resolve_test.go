package provider

import (
	"context"
	"errors"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// fakeRepository is a repository with fixed responses to HEAD and GET requests.
type fakeRepository struct {
	registry.Repository
	head    registry.Descriptor
	headErr error
	get     registry.Manifest
	getErr  error
	gets    int
}

func (*fakeRepository) Name() string { return "registry.test/app" }

func (*fakeRepository) Redact(text string) string { return text }

func (s *fakeRepository) Resolve(context.Context, string) (registry.Descriptor, error) {
	return s.head, s.headErr
}

func (s *fakeRepository) GetManifest(context.Context, string) (registry.Manifest, error) {
	s.gets++
	return s.get, s.getErr
}

func TestResolveReference(t *testing.T) {
	t.Parallel()
	content := []byte(`{"schemaVersion":2}`)
	sha256, sha512 := digest.SHA256.FromBytes(content), digest.SHA512.FromBytes(content)
	manifest := registry.Manifest{MediaType: ocispec.MediaTypeImageIndex, Digest: sha256, Content: content}
	missing := &registry.Error{Kind: registry.ErrNotFound}
	broken := &registry.Error{Kind: registry.ErrUnavailable}
	for name, test := range map[string]struct {
		repo *fakeRepository
		like digest.Digest
		want digest.Digest
		kind error
		gets int
	}{
		"head":             {repo: &fakeRepository{head: manifest.Descriptor()}, like: sha256, want: sha256},
		"any_algorithm":    {repo: &fakeRepository{head: manifest.Descriptor()}, want: sha256},
		"other_algorithm":  {repo: &fakeRepository{head: manifest.Descriptor(), get: manifest}, like: sha512, want: sha512, gets: 1},
		"no_media_type":    {repo: &fakeRepository{head: registry.Descriptor{Digest: sha256}, get: manifest}, like: sha256, want: sha256, gets: 1},
		"not_found":        {repo: &fakeRepository{headErr: missing, getErr: missing}, kind: registry.ErrNotFound, gets: 1},
		"head_not_found":   {repo: &fakeRepository{headErr: missing, get: manifest}, like: sha256, want: sha256, gets: 1},
		"proxy_not_found":  {repo: &fakeRepository{headErr: missing, getErr: &registry.Error{Kind: registry.ErrProtocol}}, kind: registry.ErrProtocol, gets: 1},
		"get_not_found":    {repo: &fakeRepository{head: registry.Descriptor{Digest: sha256}, getErr: missing}, kind: registry.ErrProtocol, gets: 1},
		"head_unavailable": {repo: &fakeRepository{headErr: broken}, kind: registry.ErrUnavailable},
	} {
		d, err := resolveReference(t.Context(), test.repo, "1", test.like)
		if !errors.Is(err, test.kind) || d.Digest != test.want || test.repo.gets != test.gets {
			t.Errorf("%s: resolveReference() = %v, %v after %d GET requests, want %v, %v after %d", name, d.Digest, err, test.repo.gets, test.want, test.kind, test.gets)
		}
		if err == nil && d.MediaType != manifest.MediaType {
			t.Errorf("%s: media type %q", name, d.MediaType)
		}
	}
}
