package main

import (
	"context"
	"errors"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestCheck_DamagedTag(t *testing.T) {
	testDamage(t, map[string]damage{
		"no_damage": {func(context.Context, *soak, repository, *target) error { return nil }, ""},
		"missing_blob": {func(ctx context.Context, _ *soak, r repository, p *target) error {
			return r.blobs.Delete(ctx, layerBelow(ctx, t, r, p.current))
		}, ": blob sha256:"},
		"blob_size": {func(ctx context.Context, s *soak, r repository, p *target) error {
			return s.destination.storage.PutContent(ctx, dataPath(layerBelow(ctx, t, r, p.current)), []byte("other"))
		}, ": it has 5 bytes and not "},
		"blob_content": {func(ctx context.Context, s *soak, r repository, p *target) error {
			path := dataPath(layerBelow(ctx, t, r, p.current))
			content, err := s.destination.storage.GetContent(ctx, path)
			content[0] ^= 1
			return errors.Join(err, s.destination.storage.PutContent(ctx, path, content))
		}, ": its bytes have another digest"},
		"missing_child": {func(ctx context.Context, _ *soak, r repository, p *target) error {
			c, err := r.read(ctx, p.current)
			return errors.Join(err, r.manifests.Delete(ctx, c.Manifests[1].Digest))
		}, ": manifest sha256:"},
		"missing_tag": {func(ctx context.Context, _ *soak, r repository, p *target) error {
			return r.tags.Untag(ctx, p.tag)
		}, " holds nothing, and sha256:"},
	})
}

func TestCheck_DamagedReferrers(t *testing.T) {
	testDamage(t, map[string]damage{
		"not_listed": {func(ctx context.Context, _ *soak, r repository, p *target) error {
			return r.tags.Tag(ctx, registry.ReferrersTag(p.current), ocispec.Descriptor{Digest: p.current})
		}, " does not name sha256:"},
		"missing_list": {func(ctx context.Context, _ *soak, r repository, p *target) error {
			return r.tags.Untag(ctx, registry.ReferrersTag(p.current))
		}, ": there is no list sha256-"},
		"missing_blob": {func(ctx context.Context, _ *soak, r repository, p *target) error {
			c, err := r.read(ctx, p.attached[0].digest)
			return errors.Join(err, r.blobs.Delete(ctx, c.Layers[0].Digest))
		}, ": blob sha256:"},
	})
}

// damage is a change to a tag or its content, and the complaint that the soak must make, or ""
// for none.
type damage struct {
	do   func(ctx context.Context, s *soak, r repository, p *target) error
	want string
}

// testDamage copies an index with its referrers for each case, damages the copy and checks the
// complaint of the soak.
func testDamage(t *testing.T, cases map[string]damage) {
	t.Helper()
	s := idleSoak(t)
	targets, indexes := s.targets, s.images
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			p, index := targets[0], indexes[0]
			targets, indexes, s.complaints = targets[tagsEach:], indexes[3:], nil // the next case uses another repository and other layers
			e := copyTask{to: []*target{p}, referrers: true}
			e.setSource(s.source.host, index)
			if err := s.attempt(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			r, err := s.destination.repository(t.Context(), p.repository)
			if err = errors.Join(err, test.do(t.Context(), s, r, p)); err != nil {
				t.Fatal(err)
			}
			s.check(t.Context())
			wantComplaint(t, s, test.want)
			_ = r.tags.Untag(t.Context(), p.tag) // fails if the case removed the tag
			p.current, p.attached = "", nil
		})
	}
}

// layerBelow returns a layer of an index that no other image has.
func layerBelow(ctx context.Context, t *testing.T, r repository, d digest.Digest) digest.Digest {
	t.Helper()
	c, err := r.read(ctx, d)
	if err == nil {
		c, err = r.read(ctx, c.Manifests[0].Digest)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.Layers[len(c.Layers)-1].Digest
}

// dataPath returns the path at which distribution stores a blob.
func dataPath(d digest.Digest) string {
	return "/docker/registry/v2/blobs/" + string(d.Algorithm()) + "/" + d.Encoded()[:2] + "/" + d.Encoded() + "/data"
}
