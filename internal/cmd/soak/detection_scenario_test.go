package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
)

// idleSoak returns a soak without faults, in which only the test acts.
func idleSoak(t *testing.T) *soak {
	t.Helper()
	s, err := open(t.Context(), options{seed: 1, concurrency: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	s.faults.over.Store(true)
	return s
}

// wantComplaint checks that the soak has exactly one complaint, which contains text, or none if
// text is "".
func wantComplaint(t *testing.T, s *soak, want string) {
	t.Helper()
	if want == "" && len(s.complaints) > 0 || want != "" && (len(s.complaints) != 1 || !strings.Contains(s.complaints[0], want)) {
		t.Errorf("complaints = %q, want %q", s.complaints, want)
	}
	if err := s.verdict(); (err == nil) != (want == "") {
		t.Errorf("verdict() = %v", err)
	}
}

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

// The result that a copy reports is compared with the tag, which does not exist before the
// copy.
func TestVerify_ReportedResult(t *testing.T) {
	untagged := &registry.Error{Kind: registry.ErrUnavailable}
	s := idleSoak(t)
	targets := s.targets
	for name, test := range map[string]struct {
		written   bool // the tag refers to the image
		tagged    bool // the copy reports the tag as written
		referrers bool // referrers were requested but not copied
		failed    error
		want      string
	}{
		"success_written":           {true, true, false, nil, ""},
		"success_not_written":       {false, true, false, nil, "holds nothing after a copy"},
		"success_without_referrers": {true, true, true, nil, "v1 that succeeded: not all that is attached to prod-"},
		"failure_without_referrers": {false, false, true, untagged, ""},
		"failure_not_written":       {false, false, false, untagged, ""},
		"failure_reports_written":   {false, true, false, untagged, "holds nothing after a copy"},
		"failure_response_lost":     {true, false, false, untagged, ""},
		"rejected_written":          {true, false, false, &registry.Error{Kind: registry.ErrMissingContent}, "held nothing before a copy that failed"},
		"foreign_error":             {false, false, false, errors.New("surprise"), "none of the engine's"},
		"error_without_kind":        {false, false, false, &registry.Error{}, "of no kind"},
		"unexpected_kind":           {false, false, false, &registry.Error{Kind: registry.ErrMismatch}, "nothing here explains"},
	} {
		t.Run(name, func(t *testing.T) {
			p, i := targets[0], s.images[1]
			targets, s.complaints = targets[1:], nil
			if test.written {
				pushTagged(t, s, i, p)
			}
			e := copyTask{to: []*target{p}, referrers: test.referrers}
			e.setSource(s.source.host, i)
			report := copier.Report{Digest: i.root}
			if test.tagged {
				report.Tagged = []string{p.tag}
			}
			s.verify(t.Context(), e, report, test.failed)
			wantComplaint(t, s, test.want)
		})
	}
}

// pushTagged pushes an image to a target without the engine.
func pushTagged(t *testing.T, s *soak, i image, p *target) {
	t.Helper()
	if err := pushUntagged(t, s, i, p.repository).tags.Tag(t.Context(), p.tag, ocispec.Descriptor{Digest: i.root}); err != nil {
		t.Fatal(err)
	}
}

// pushUntagged pushes an image to a repository of the destination without a tag.
func pushUntagged(t *testing.T, s *soak, i image, name string) repository {
	t.Helper()
	from, err := s.source.repository(t.Context(), i.repository)
	to, toErr := s.destination.repository(t.Context(), name)
	c, readErr := from.read(t.Context(), i.root)
	if err := errors.Join(err, toErr, readErr); err != nil {
		t.Fatal(err)
	}
	for _, d := range append(slices.Clone(c.Layers), *c.Config) {
		content, err := from.blobs.Get(t.Context(), d.Digest)
		if err == nil {
			_, err = to.blobs.Put(t.Context(), d.MediaType, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	m, err := from.manifests.Get(t.Context(), i.root)
	if err == nil {
		_, err = to.manifests.Put(t.Context(), m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestExceeded_Goroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := restingFootprint()
		end := make(chan struct{})
		for range goroutineAllowance + 1 {
			go lingers(end)
		}
		_, found := before.exceeded(t.Context())
		close(end)
		if len(found) != 1 || !strings.Contains(found[0], "soak.lingers") {
			t.Errorf("exceeded() = %q", found)
		}
		if _, found := before.exceeded(t.Context()); len(found) != 0 {
			t.Errorf("exceeded() after the goroutines ended = %q", found)
		}
	})
}

func lingers(end chan struct{}) { <-end }

var kept []byte

func TestExceeded_Memory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := restingFootprint()
		kept = make([]byte, heapAllowance+1<<20)
		_, found := before.exceeded(t.Context())
		kept = nil
		if len(found) != 1 || !strings.Contains(found[0], "are in use") {
			t.Errorf("exceeded() = %q", found)
		}
	})
}
