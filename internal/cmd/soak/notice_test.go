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

// still is a soak in which nothing happens but what a test does.
func still(t *testing.T) *soak {
	t.Helper()
	s, err := open(t.Context(), options{seed: 1, atOnce: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	s.faults.over.Store(true)
	return s
}

// complains says whether the soak has that one complaint, or none where it is "".
func complains(t *testing.T, s *soak, of string) {
	t.Helper()
	if of == "" && len(s.complaints) > 0 || of != "" && (len(s.complaints) != 1 || !strings.Contains(s.complaints[0], of)) {
		t.Errorf("it complains of %q, and should of %q", s.complaints, of)
	}
	if err := s.verdict(); (err == nil) != (of == "") {
		t.Errorf("the verdict is %v", err)
	}
}

func TestATagThatIsNotAsItShouldBeIsNoticed(t *testing.T) {
	noticed(t, map[string]damage{
		"nothing happened": {func(context.Context, *soak, repository, *place) error { return nil }, ""},
		"a blob is gone": {func(ctx context.Context, _ *soak, r repository, p *place) error {
			return r.blobs.Delete(ctx, layerBelow(ctx, t, r, p.held))
		}, ": blob sha256:"},
		"a blob has another size": {func(ctx context.Context, s *soak, r repository, p *place) error {
			return s.destination.storage.PutContent(ctx, dataPath(layerBelow(ctx, t, r, p.held)), []byte("other"))
		}, ": it has 5 bytes and not "},
		"a bit of a blob is another": {func(ctx context.Context, s *soak, r repository, p *place) error {
			path := dataPath(layerBelow(ctx, t, r, p.held))
			content, err := s.destination.storage.GetContent(ctx, path)
			content[0] ^= 1
			return errors.Join(err, s.destination.storage.PutContent(ctx, path, content))
		}, ": its bytes have another digest"},
		"a manifest of an index is gone": {func(ctx context.Context, _ *soak, r repository, p *place) error {
			c, err := r.read(ctx, p.held)
			return errors.Join(err, r.manifests.Delete(ctx, c.Manifests[1].Digest))
		}, ": manifest sha256:"},
		"the tag is gone": {func(ctx context.Context, _ *soak, r repository, p *place) error {
			return r.tags.Untag(ctx, p.tag)
		}, " holds nothing, and sha256:"},
	})
}

func TestWhatIsAttachedAndNotAsItShouldBeIsNoticed(t *testing.T) {
	noticed(t, map[string]damage{
		"it is not listed": {func(ctx context.Context, _ *soak, r repository, p *place) error {
			return r.tags.Tag(ctx, registry.ReferrersTag(p.held), ocispec.Descriptor{Digest: p.held})
		}, " does not name sha256:"},
		"the list is gone": {func(ctx context.Context, _ *soak, r repository, p *place) error {
			return r.tags.Untag(ctx, registry.ReferrersTag(p.held))
		}, ": there is no list sha256-"},
		"a blob of it is gone": {func(ctx context.Context, _ *soak, r repository, p *place) error {
			c, err := r.read(ctx, p.attached[0].digest)
			return errors.Join(err, r.blobs.Delete(ctx, c.Layers[0].Digest))
		}, ": blob sha256:"},
	})
}

// damage is what befalls a tag, and how the soak complains of it; "" for not.
type damage struct {
	do func(ctx context.Context, s *soak, r repository, p *place) error
	of string
}

// noticed copies an index with what is attached to it, damages that, and looks
// what the check says.
func noticed(t *testing.T, cases map[string]damage) {
	t.Helper()
	s := still(t)
	places, indexes := s.places, s.images
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			p, index := places[0], indexes[0]
			places, indexes, s.complaints = places[tagsEach:], indexes[3:], nil // of another repository, with other layers
			e := errand{to: []*place{p}, along: true}
			e.of(s.source.host, index)
			if err := s.attempt(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			r, err := s.destination.repository(t.Context(), p.repository)
			if err = errors.Join(err, test.do(t.Context(), s, r, p)); err != nil {
				t.Fatal(err)
			}
			s.check(t.Context())
			complains(t, s, test.of)
			_ = r.tags.Untag(t.Context(), p.tag) // where it is there
			p.held, p.attached = "", nil
		})
	}
}

// layerBelow is a layer of an index that no other image has.
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

// dataPath is where distribution keeps a blob.
func dataPath(d digest.Digest) string {
	return "/docker/registry/v2/blobs/" + string(d.Algorithm()) + "/" + d.Encoded()[:2] + "/" + d.Encoded() + "/data"
}

// What a copy says of a tag is held against what the tag holds. In each case the
// tag held nothing before.
func TestACopyThatDoesOtherThanItSaysIsNoticed(t *testing.T) {
	lost := &registry.Error{Kind: registry.ErrUnavailable}
	s := still(t)
	places := s.places
	for name, test := range map[string]struct {
		written bool // the tag holds what was to be copied
		tagged  bool // the copy reports so
		along   bool // what is attached was to come along, and did not
		failed  error
		of      string
	}{
		"it succeeds and writes":                  {true, true, false, nil, ""},
		"it succeeds and does not write":          {false, true, false, nil, "holds nothing after a copy"},
		"it succeeds and leaves what is attached": {true, true, true, nil, "v1 that succeeded: not all that is attached to prod-"},
		"it fails and leaves what is attached":    {false, false, true, lost, ""},
		"it fails and does not write":             {false, false, false, lost, ""},
		"it fails, and says that it has written":  {false, true, false, lost, "holds nothing after a copy"},
		"it fails before an answer comes":         {true, false, false, lost, ""},
		"it is refused and has written":           {true, false, false, &registry.Error{Kind: registry.ErrMissingContent}, "held nothing before a copy that failed"},
		"it fails with something else":            {false, false, false, errors.New("surprise"), "none of the engine's"},
		"it fails without a kind":                 {false, false, false, &registry.Error{}, "of no kind"},
		"it fails as nothing here makes it":       {false, false, false, &registry.Error{Kind: registry.ErrMismatch}, "nothing here explains"},
	} {
		t.Run(name, func(t *testing.T) {
			p, i := places[0], s.images[1]
			places, s.complaints = places[1:], nil
			if test.written {
				transplant(t, s, i, p)
			}
			e := errand{to: []*place{p}, along: test.along}
			e.of(s.source.host, i)
			report := copier.Report{Digest: i.root}
			if test.tagged {
				report.Tagged = []string{p.tag}
			}
			s.judge(t.Context(), e, report, test.failed)
			complains(t, s, test.of)
		})
	}
}

// transplant puts an image under a tag without the engine.
func transplant(t *testing.T, s *soak, i image, p *place) {
	t.Helper()
	if err := bring(t, s, i, p.repository).tags.Tag(t.Context(), p.tag, ocispec.Descriptor{Digest: i.root}); err != nil {
		t.Fatal(err)
	}
}

// bring puts an image into a repository of the destination, under no tag.
func bring(t *testing.T, s *soak, i image, name string) repository {
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

func TestAGoroutineThatStaysIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := restingFootprint()
		end := make(chan struct{})
		for range goroutineAllowance + 1 {
			go lingers(end)
		}
		_, found := before.exceeded(t.Context())
		close(end)
		if len(found) != 1 || !strings.Contains(found[0], "soak.lingers") {
			t.Errorf("it says %q", found)
		}
		if _, found := before.exceeded(t.Context()); len(found) != 0 {
			t.Errorf("afterwards it says %q", found)
		}
	})
}

func lingers(end chan struct{}) { <-end }

var kept []byte

func TestMemoryThatStaysIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := restingFootprint()
		kept = make([]byte, heapAllowance+1<<20)
		_, found := before.exceeded(t.Context())
		kept = nil
		if len(found) != 1 || !strings.Contains(found[0], "are in use") {
			t.Errorf("it says %q", found)
		}
	})
}
