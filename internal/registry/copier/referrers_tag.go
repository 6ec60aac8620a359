package copier

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// publishReferrers makes copied referrers discoverable at the destination. It writes the tags
// that they had at the source. If the destination has no referrers API, it also updates the
// referrers tags of their subjects.
func (r *copyOp) publishReferrers(ctx context.Context, found []Referrer) error {
	var tagged []Referrer
	listed := map[digest.Digest][]Referrer{}
	for _, f := range found {
		if f.Tag == "" {
			listed[f.Subject] = append(listed[f.Subject], f)
		} else {
			tagged = append(tagged, f)
		}
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, f := range tagged {
		group.Go(func() error { return r.tagReferrer(groupCtx, f) })
	}
	group.Go(func() error { return r.ensureAllListed(groupCtx, listed) })
	if err := group.Wait(); err != nil {
		return err
	}
	r.stats.setReferrers(found)
	return nil
}

// ensureAllListed ensures that the destination lists the referrers of each subject. If the
// destination has the referrers API, one request is enough.
func (r *copyOp) ensureAllListed(ctx context.Context, referrers map[digest.Digest][]Referrer) error {
	subjects := slices.Sorted(maps.Keys(referrers))
	if len(subjects) == 0 {
		return nil
	}
	usesTag, err := r.ensureListed(ctx, subjects[0], referrers[subjects[0]])
	if err != nil || !usesTag {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, subject := range subjects[1:] {
		group.Go(func() error {
			_, err := r.ensureListed(groupCtx, subject, referrers[subject])
			return err
		})
	}
	return group.Wait()
}

// tagReferrer tags a referrer that clients find by its tag. To keep signatures that were
// added at the destination, it replaces an existing tag only if an earlier copy wrote it, or
// if the new manifest has all of its layers.
func (r *copyOp) tagReferrer(ctx context.Context, f Referrer) error {
	current, err := r.currentTagDigest(ctx, f.Tag, f.Manifest.Digest)
	if err != nil || current == f.Manifest.Digest {
		return err
	}
	if err := r.checkOverwrite(f.Tag, current, f.Manifest.Digest); err != nil {
		return err
	}
	if current != "" && current != r.job.ReferrerTags[f.Tag] {
		if err := r.checkSuperset(ctx, f, current); err != nil {
			return registry.WithSide(err, registry.Destination)
		}
	}
	return r.writeTag(ctx, f.Tag, f.Manifest, func(ctx context.Context) error { return r.reuploadReferrer(ctx, f.Manifest.Digest) })
}

// checkSuperset returns an error unless a referrer has all layers of the manifest that has its
// tag at the destination. Cosign adds signatures as layers to the existing ones.
func (r *copyOp) checkSuperset(ctx context.Context, f Referrer, current digest.Digest) error {
	m, err := r.job.Destination.GetManifest(ctx, current.String())
	if err != nil {
		return err
	}
	old, err := m.Parse()
	if err != nil {
		return registry.WithRepository(err, r.job.Destination.Name())
	}
	updated, err := f.Manifest.Parse()
	if err != nil {
		return registry.WithRepository(err, r.job.Source.Name())
	}
	for _, layer := range old.Layers {
		if !slices.ContainsFunc(updated.Layers, func(l registry.Descriptor) bool {
			return l.Digest == layer.Digest && maps.Equal(l.Annotations, layer.Annotations)
		}) {
			return &registry.Error{Op: "write the tag", Repository: r.job.Destination.Name(), Reference: f.Tag, Kind: registry.ErrTagHeld,
				Message: fmt.Sprintf("it holds %s, which has signatures or attestations that the source does not have, and they would be lost", current),
				Hint:    "Sign at one place, or with referrers instead of tags, which do not exclude each other. Otherwise remove the tag at the destination, or promote with referrer_types that leave it out."}
		}
	}
	return nil
}

// reuploadReferrer uploads the content of a referrer of which the destination has the manifest
// but lacks other content.
func (r *copyOp) reuploadReferrer(ctx context.Context, d digest.Digest) error {
	w := newGraphWalk(r)
	w.search = nil
	if _, err := w.copy(ctx, d, false); err != nil {
		return err
	}
	return w.reupload(ctx, w.root)
}

// ensureListed ensures that the destination lists the referrers of a subject. usesTag reports
// whether the destination has no referrers API, so that clients maintain an index under the
// referrers tag (OCI distribution specification, "Pushing Manifests with Subject"). Another
// client may write the tag at the same time, so ensureListed reads it again after a write.
func (r *copyOp) ensureListed(ctx context.Context, subject digest.Digest, referrers []Referrer) (usesTag bool, err error) {
	unlock, err := r.copier.indexTags.lock(ctx, lockKey{r.job.Destination.Name(), subject})
	if err != nil {
		return false, &registry.Error{Side: registry.Destination, Op: "list the referrers of", Repository: r.job.Destination.Name(), Reference: subject.String(), Kind: registry.ErrUnavailable, Err: err}
	}
	defer unlock()
	if locker, ok := r.job.Destination.(registry.Locker); ok {
		err = locker.WithLock(ctx, func() error {
			usesTag, err = r.updateIndexTag(ctx, subject, referrers, 0)
			return err
		})
		return usesTag, registry.WithSide(err, registry.Destination)
	}
	return r.updateIndexTag(ctx, subject, referrers, indexTagDelay+rand.N(indexTagDelay)) //nolint:gosec // a delay does not need a secure random number
}

// indexTagDelay is the minimum delay before an index tag is read again after it was written.
// A client that has read the old index may overwrite the new one in that time.
const indexTagDelay = 100 * time.Millisecond

// updateIndexTag adds referrers to the list of a subject until the destination lists them.
// It waits for delay after each write.
func (r *copyOp) updateIndexTag(ctx context.Context, subject digest.Digest, referrers []Referrer, delay time.Duration) (usesTag bool, err error) {
	for attempt := range maxReads {
		if attempt > 0 {
			select {
			case <-time.After(delay):
			case <-ctx.Done(): // the next request returns the error
			}
		}
		listing, err := r.job.Destination.ListReferrers(ctx, subject)
		usesTag = listing.Tag != ""
		if err != nil || !usesTag || !slices.ContainsFunc(referrers, func(f Referrer) bool { return !containsReferrer(listing, f) }) {
			return usesTag, registry.WithSide(err, registry.Destination)
		}
		if err := r.writeIndexTag(ctx, listing, referrers); err != nil {
			return usesTag, err
		}
	}
	return usesTag, &registry.Error{Side: registry.Destination, Op: "list the referrers of", Repository: r.job.Destination.Name(), Reference: subject.String(), Kind: registry.ErrMismatch,
		Message: fmt.Sprintf("the registry took the list of them under the tag %s %d times, and the tag holds another one", registry.ReferrersTag(subject), maxReads),
		Hint:    "Somebody else writes it at the same time, or the registry does not keep what it takes. Try it again, and see who else attaches signatures or SBOMs there."}
}

// containsReferrer reports whether a list contains a referrer.
func containsReferrer(l registry.ReferrerList, f Referrer) bool {
	return slices.ContainsFunc(l.Referrers, func(d registry.Descriptor) bool { return d.Digest == f.Manifest.Digest })
}

// writeIndexTag adds referrers to the index under the referrers tag. It retains the existing
// entries. If the registry rejects the index because manifests of existing entries are
// missing, writeIndexTag removes those entries and retries. It never removes an entry that
// it was called to add.
func (r *copyOp) writeIndexTag(ctx context.Context, listing registry.ReferrerList, referrers []Referrer) error {
	destination := r.job.Destination
	if current := listing.Held; current.Digest != "" && current.MediaType != ocispec.MediaTypeImageIndex {
		return &registry.Error{Side: registry.Destination, Op: "write the tag", Repository: destination.Name(), Reference: listing.Tag, Kind: registry.ErrTagHeld,
			Message: fmt.Sprintf("it is where clients list referrers, and holds something else, %s of the type %s", current.Digest, registry.Sanitize(r.redact(current.MediaType))),
			Hint:    "The registry has no referrers API, so that signatures and SBOMs are found by this tag alone. Remove the tag, or do not bring referrers there."}
	}
	var descriptors []registry.Descriptor
	for _, f := range referrers {
		d := f.Manifest.Descriptor()
		d.ArtifactType, d.Annotations = f.ArtifactType, f.Annotations
		descriptors = append(descriptors, d)
	}
	index, err := listing.Held.AppendManifests(descriptors)
	if err != nil {
		return registry.WithSide(err, registry.Destination)
	}
	_, err = r.put(ctx, listing.Tag, index, nil)
	if !errors.Is(err, registry.ErrMissingContent) {
		return err
	}
	index, goneErr := index.RemoveManifests(func(d registry.Descriptor) bool {
		if slices.ContainsFunc(referrers, func(f Referrer) bool { return f.Manifest.Digest == d.Digest }) {
			return false
		}
		_, err := destination.Resolve(ctx, d.Digest.String())
		return errors.Is(err, registry.ErrNotFound)
	})
	if goneErr != nil {
		return err
	}
	_, err = r.put(ctx, listing.Tag, index, nil)
	return err
}
