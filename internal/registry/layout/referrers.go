package layout

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// ListReferrers finds what refers to a digest: what the index names and has it as
// its subject, as oras keeps referrers in a layout, and what is listed under the
// tag that clients use for registries without a referrers API, as regctl does.
// The layout is such a registry.
func (l *Layout) ListReferrers(ctx context.Context, subject digest.Digest) (registry.ReferrerList, error) {
	const op = "list the referrers of"
	if err := l.ended(ctx, op, subject.String()); err != nil {
		return registry.ReferrerList{}, err
	}
	if err := registry.ValidateDigest(subject); err != nil {
		return registry.ReferrerList{}, err
	}
	entries, err := l.entries()
	if err != nil {
		return registry.ReferrerList{}, l.during(err, op, subject.String())
	}
	listing := registry.ReferrerList{Tag: registry.ReferrersTag(subject)}
	d, err := pick(entries, listing.Tag)
	if err == nil {
		listing, err = l.listed(listing, d)
	} else if errors.Is(err, registry.ErrNotFound) {
		err = nil
	}
	if err != nil {
		return registry.ReferrerList{}, l.during(err, op, subject.String())
	}
	known := map[digest.Digest]bool{}
	for _, d := range listing.Referrers {
		known[d.Digest] = true
	}
	for _, d := range entries {
		if err := l.ended(ctx, op, subject.String()); err != nil { // there may be many
			return registry.ReferrerList{}, err
		}
		if !known[d.Digest] && l.subjectOf(d) == subject {
			known[d.Digest] = true
			listing.Referrers = append(listing.Referrers, registry.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
		}
	}
	return listing, nil
}

// listed is a listing with what an index under its tag lists. What is there and
// is no index lists nothing.
func (l *Layout) listed(listing registry.ReferrerList, d registry.Descriptor) (registry.ReferrerList, error) {
	m, err := l.manifest(d.Digest, d.MediaType)
	if err != nil {
		return listing, err
	}
	listing.Held = m
	if listing, err = listing.AppendPage(m); errors.Is(err, registry.ErrProtocol) {
		err = nil
	}
	return listing, err
}

// subjectOf is what an entry of the index refers to, "" where it refers to
// nothing or cannot be read: who copies it says what is wrong with it. It is read
// once, because bytes of one digest do not change.
func (l *Layout) subjectOf(d registry.Descriptor) digest.Digest {
	l.mu.Lock()
	subject, known := l.subjects[d.Digest]
	l.mu.Unlock()
	if known {
		return subject
	}
	m, err := l.manifest(d.Digest, d.MediaType)
	if errors.Is(err, registry.ErrNotFound) {
		return "" // yet
	}
	if err == nil {
		if contents, err := m.Parse(); err == nil && contents.Subject != nil {
			subject = contents.Subject.Digest
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subjects[d.Digest] = subject
	return subject
}
