package layout

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// ListReferrers lists the referrers of subject from two sources. Entries of index.json with
// that subject are referrers, as oras stores them. So is the content of the index under the
// referrers tag, as regctl stores it: clients use that tag for registries without a referrers
// API, and a layout has none.
func (l *Layout) ListReferrers(ctx context.Context, subject digest.Digest) (registry.ReferrerList, error) {
	const op = "list the referrers of"
	if err := l.contextError(ctx, op, subject.String()); err != nil {
		return registry.ReferrerList{}, err
	}
	if err := registry.ValidateDigest(subject); err != nil {
		return registry.ReferrerList{}, err
	}
	entries, err := l.readIndex()
	if err != nil {
		return registry.ReferrerList{}, l.opError(err, op, subject.String())
	}
	listing := registry.ReferrerList{Tag: registry.ReferrersTag(subject)}
	d, err := findEntry(entries, listing.Tag)
	if err == nil {
		listing, err = l.appendTagged(listing, d)
	} else if errors.Is(err, registry.ErrNotFound) {
		err = nil
	}
	if err != nil {
		return registry.ReferrerList{}, l.opError(err, op, subject.String())
	}
	known := map[digest.Digest]bool{}
	for _, d := range listing.Referrers {
		known[d.Digest] = true
	}
	for _, d := range entries {
		if err := l.contextError(ctx, op, subject.String()); err != nil { // there may be many entries
			return registry.ReferrerList{}, err
		}
		if !known[d.Digest] && l.subjectOf(d) == subject {
			known[d.Digest] = true
			listing.Referrers = append(listing.Referrers, registry.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
		}
	}
	return listing, nil
}

// appendTagged returns listing with the referrers from d, which is the manifest under the
// referrers tag. A manifest that is not an index adds none.
func (l *Layout) appendTagged(listing registry.ReferrerList, d registry.Descriptor) (registry.ReferrerList, error) {
	m, err := l.readManifest(d.Digest, d.MediaType)
	if err != nil {
		return listing, err
	}
	listing.Held = m
	if listing, err = listing.AppendPage(m); errors.Is(err, registry.ErrProtocol) {
		err = nil
	}
	return listing, err
}

// subjectOf returns the subject of an index entry, or "" if it has none or cannot be read. A
// copy of the entry reports why it cannot be read. Results are cached, because the content of a
// digest does not change.
func (l *Layout) subjectOf(d registry.Descriptor) digest.Digest {
	l.mu.Lock()
	subject, known := l.subjects[d.Digest]
	l.mu.Unlock()
	if known {
		return subject
	}
	m, err := l.readManifest(d.Digest, d.MediaType)
	if errors.Is(err, registry.ErrNotFound) {
		return "" // not cached: the file may be written later
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
