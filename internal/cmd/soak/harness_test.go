package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
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
