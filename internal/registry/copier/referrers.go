package copier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Referrer is a manifest that refers to another one, such as a signature, an SBOM or an
// attestation.
type Referrer struct {
	// Subject is the digest of the manifest that it refers to.
	Subject digest.Digest
	// Tag is the tag by which the referrer was found if it has no subject field, like
	// signatures that cosign made before the referrers API existed. Otherwise it is "".
	Tag string
	// Manifest is the referrer itself.
	Manifest registry.Manifest
	// ArtifactType and Annotations are those of the manifest, regardless of the list that
	// it was found in. For a referrer that was found by tag and has the config of an image,
	// ArtifactType is the media type of its layers, if they all have the same.
	ArtifactType string
	Annotations  map[string]string
}

// Referrers returns the referrers of a digest in a repository: manifests that the repository
// lists and whose subject is the digest, and manifests under the tags that cosign uses.
//
// If types is not empty, Referrers returns only those with one of these artifact types. A
// referrer that was found by tag may also have a layer with one of these media types,
// because cosign does not set its artifact type.
//
// Listed referrers come first, in the order of their digests, because repositories list them
// in any order. Those found by tag follow, in the order of the tags. The error matches
// registry.ErrLimit if there are too many referrers.
func (c *Copier) Referrers(ctx context.Context, from registry.Repository, subject digest.Digest, types []string) ([]Referrer, error) {
	found, err := (&referrerSearch{from: from, types: types, memory: c.memory, memoryKey: from.Host()}).find(ctx, subject)
	slices.SortStableFunc(found, func(a, b Referrer) int {
		return cmp.Or(cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Manifest.Digest, b.Manifest.Digest))
	})
	return found, err
}

// referrerSearch finds the referrers of one manifest or of a whole graph.
type referrerSearch struct {
	from      registry.Repository
	types     []string
	memory    *registry.Memory
	memoryKey string       // identifies the hosts that memory is charged for
	read      atomic.Int64 // number of manifests read
	retained  atomic.Int64 // bytes of manifests that are referrers
	// reserve reserves memory for the retained referrers. It is nil if the search does not
	// outlive the call of find.
	reserve func() error
}

// searchWorkers is the number of concurrent requests for the referrers of one manifest.
const searchWorkers = 8

// find returns the referrers of a manifest. If it returns an error, the search retains nothing
// from this call.
func (s *referrerSearch) find(ctx context.Context, subject digest.Digest) (found []Referrer, err error) {
	var tagged, listed []*Referrer
	defer func() {
		for _, r := range slices.Concat(listed, tagged) {
			if r != nil && err != nil {
				s.retained.Add(-int64(len(r.Manifest.Content)))
			}
		}
	}()
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(searchWorkers)
	var listing registry.ReferrerList
	group.Go(func() (err error) {
		listing, err = s.from.ListReferrers(groupCtx, subject)
		return err
	})
	tags := registry.LegacyTags(subject)
	tagged = make([]*Referrer, len(tags))
	for i, tag := range tags {
		group.Go(func() (err error) {
			tagged[i], err = s.fetchTagged(groupCtx, subject, tag)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	group, groupCtx = errgroup.WithContext(ctx)
	group.SetLimit(searchWorkers)
	listed = make([]*Referrer, len(listing.Referrers))
	for i, d := range listing.Referrers {
		group.Go(func() (err error) {
			listed[i], err = s.fetchListed(groupCtx, subject, d)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, r := range slices.Concat(listed, tagged) {
		if r != nil {
			found = append(found, *r)
		}
	}
	return found, nil
}

// fetchListed reads a manifest that the repository lists as a referrer. It returns nil if the
// manifest has another subject, does not exist, cannot be parsed, or does not match the types
// of the search.
func (s *referrerSearch) fetchListed(ctx context.Context, subject digest.Digest, d registry.Descriptor) (*Referrer, error) {
	r, contents, err := s.fetch(ctx, subject, d.Digest.String(), d.Size)
	switch {
	case errors.Is(err, registry.ErrNotFound), errors.Is(err, registry.ErrInvalidManifest):
		return nil, nil
	case err != nil:
		return nil, err
	case contents.Subject == nil || contents.Subject.Digest != subject || !s.matchesType(r.ArtifactType):
		return nil, nil
	}
	return s.retain(r)
}

// retain counts the manifest of a referrer as retained and returns the referrer. It returns an
// error if the search already retains too much.
func (s *referrerSearch) retain(r *Referrer) (*Referrer, error) {
	size := int64(len(r.Manifest.Content))
	if s.retained.Add(size) > maxManifestBytes {
		return nil, s.limit(r.Subject, "the manifests that refer to it and to what it names are together larger than %d MiB", maxManifestBytes>>20)
	}
	if s.reserve != nil {
		if err := s.reserve(); err != nil {
			s.retained.Add(-size)
			return nil, err
		}
	}
	return r, nil
}

// limit returns an error of kind ErrLimit for the referrers of a subject.
func (s *referrerSearch) limit(subject digest.Digest, format string, args ...any) error {
	return &registry.Error{Op: "read the referrers of", Repository: s.from.Name(), Reference: subject.String(),
		Kind: registry.ErrLimit, Message: fmt.Sprintf(format, args...), Hint: registry.DefaultHint(registry.ErrLimit)}
}

// fetchTagged reads the referrer under a tag. It returns nil if the tag does not exist, or if its
// manifest cannot be parsed or does not match the types of the search.
func (s *referrerSearch) fetchTagged(ctx context.Context, subject digest.Digest, tag string) (*Referrer, error) {
	d, err := s.from.Resolve(ctx, tag)
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, contents, err := s.fetch(ctx, subject, d.Digest.String(), d.Size)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return nil, nil
	case errors.Is(err, registry.ErrInvalidManifest):
		registry.TraceOf(ctx).Warning(fmt.Sprintf("%s: what the tag %s holds cannot be read as a manifest, and is left out", s.from.Name(), tag))
		return nil, nil
	case err != nil:
		return nil, err
	}
	r.Tag = tag
	if s.matchesType(r.ArtifactType) || slices.ContainsFunc(contents.Layers, func(l registry.Descriptor) bool { return s.matchesType(l.MediaType) }) {
		r.ArtifactType = taggedArtifactType(contents)
		return s.retain(r)
	}
	return nil, nil
}

// taggedArtifactType returns the artifact type of a referrer that was found by tag. Cosign gives
// it the config of an image, so the media type of its layers is more specific.
func taggedArtifactType(c registry.Contents) string {
	differs := func(l registry.Descriptor) bool { return l.MediaType != c.Layers[0].MediaType }
	if !registry.IsImageConfig(c.Type()) || len(c.Layers) == 0 || slices.ContainsFunc(c.Layers, differs) {
		return c.Type()
	}
	return c.Layers[0].MediaType
}

// matchesType reports whether the search includes referrers of an artifact type.
func (s *referrerSearch) matchesType(artifactType string) bool {
	return len(s.types) == 0 || slices.Contains(s.types, artifactType)
}

// fetch reads a manifest that may be a referrer. It returns an error if the manifest is large
// although its listed size is not, because memory was not charged for it in advance.
func (s *referrerSearch) fetch(ctx context.Context, subject digest.Digest, reference string, listedSize int64) (*Referrer, registry.Contents, error) {
	fail := func(e registry.Error) (*Referrer, registry.Contents, error) {
		e.Op, e.Repository, e.Reference = "read the referrers of", s.from.Name(), subject.String()
		return nil, registry.Contents{}, &e
	}
	if s.read.Add(1) > maxNodes {
		return nil, registry.Contents{}, s.limit(subject, "more than %d manifests are listed as referrers of it and of what it names", maxNodes)
	}
	unknownSize := listedSize < 0
	charge := s.memory.Charge(s.memoryKey, registry.FlowOf(ctx).String())
	defer charge.Release()
	if listedSize >= largeManifest {
		if err := charge.Grow(ctx, listedSize); err != nil {
			return fail(registry.Error{Kind: registry.ErrUnavailable, Err: err})
		}
	}
	ctx = registry.WithCharge(ctx, charge)
	m, err := s.from.GetManifest(ctx, reference)
	if err != nil {
		return nil, registry.Contents{}, err
	}
	if size := len(m.Content); !unknownSize && listedSize < largeManifest && size >= largeManifest {
		return fail(registry.Error{Kind: registry.ErrMismatch, Message: fmt.Sprintf("%s has %d bytes and is listed with %d", m.Digest, size, listedSize)})
	}
	contents, err := m.Parse()
	if err != nil {
		return nil, contents, registry.WithRepository(err, s.from.Name())
	}
	return &Referrer{Subject: subject, Manifest: m, ArtifactType: contents.Type(), Annotations: contents.Annotations}, contents, nil
}
