package main

import (
	"errors"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestSweep_RemovesUntagged(t *testing.T) {
	s := idleSoak(t)
	kept, untagged, otherRepository, single := s.targets[0], s.targets[1], s.targets[tagsEach], s.targets[2]
	for p, n := range map[*target]int{kept: 1, untagged: 2, otherRepository: 2, single: 4} {
		pushTagged(t, s, s.images[n], p)
	}
	r, err := s.destination.repository(t.Context(), kept.repository)
	if err != nil {
		t.Fatal(err)
	}
	layer := s.images[4].root
	if c, err := r.read(t.Context(), layer); err == nil {
		layer = c.Layers[len(c.Layers)-1].Digest // that no other image has
	}
	if err := errors.Join(r.tags.Untag(t.Context(), untagged.tag), r.tags.Untag(t.Context(), single.tag)); err != nil {
		t.Fatal(err)
	}
	s.sweepWhenIdle(t.Context())
	if _, err := r.read(t.Context(), s.images[2].root); err == nil {
		t.Error("the sweep kept a manifest that is tagged only in another repository")
	}
	if _, err := s.destination.content.BlobStatter().Stat(t.Context(), layer); err == nil {
		t.Error("the sweep kept a layer without a manifest")
	}
	for _, p := range []*target{kept, otherRepository} {
		if found, err := s.inspect(t.Context(), p, map[digest.Digest]bool{}); found == "" || err != nil {
			t.Errorf("inspect() of %s:%s = %s, %v", p.repository, p.tag, digestOrNone(found), err)
		}
	}
	wantComplaint(t, s, "")
}

// While the first index is copied to a repository, the repository has its manifests but no tag.
func TestSweep_RepositoryWithoutTags(t *testing.T) {
	s := idleSoak(t)
	index := s.images[0]
	from, err := s.source.repository(t.Context(), index.repository)
	if err != nil {
		t.Fatal(err)
	}
	c, err := from.read(t.Context(), index.root)
	if err != nil {
		t.Fatal(err)
	}
	var untagged, tagged repository // in the order of the sweep
	for _, child := range c.Manifests {
		untagged = pushUntagged(t, s, image{repository: index.repository, root: child.Digest}, "prod-0/app")
		tagged = pushUntagged(t, s, image{repository: index.repository, root: child.Digest}, "prod-1/app")
		if err := tagged.tags.Tag(t.Context(), child.Digest.Encoded(), child); err != nil {
			t.Fatal(err)
		}
	}
	s.sweepWhenIdle(t.Context())
	m, err := from.manifests.Get(t.Context(), index.root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := untagged.manifests.Put(t.Context(), m); err == nil {
		t.Errorf("pushed an index whose manifests were swept, checkComplete() = %v", untagged.checkComplete(t.Context(), index.root, nil))
	}
	if _, err := tagged.manifests.Put(t.Context(), m); err != nil {
		t.Errorf("Put() of an index with tagged manifests = %v", err)
	}
	if err := tagged.checkComplete(t.Context(), index.root, map[digest.Digest]bool{}); err != nil {
		t.Errorf("checkComplete() of the tagged index = %v", err)
	}
	wantComplaint(t, s, "")
}

func TestSweep_ActiveRequest(t *testing.T) {
	s := idleSoak(t)
	if err := s.destination.withoutSweep(t.Context(), func() error {
		if s.sweep(t.Context()) {
			return errors.New("sweep() = true")
		}
		return nil
	}); err != nil || s.count.postponed.Load() != 1 {
		t.Errorf("%v; postponed = %d, want 1", err, s.count.postponed.Load())
	}
}
