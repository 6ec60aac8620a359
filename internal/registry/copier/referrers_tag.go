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

// publishReferrers makes what came along findable at the destination: by the tags that it had
// at the source, and by lists where the destination keeps none itself.
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

// listAll lists what refers to each subject. A destination that does so itself
// is asked once.
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

// tagReferrer puts a tag on a referrer that is found by it. A signature that
// somebody else made at the destination would be lost with the tag: it is moved
// only where nothing is.
func (r *copyOp) tagReferrer(ctx context.Context, f Referrer) error {
	current, err := r.currentTagDigest(ctx, f.Tag, f.Manifest.Digest)
	if err != nil || current == f.Manifest.Digest {
		return err
	}
	if err := r.checkOverwrite(f.Tag, current, f.Manifest.Digest); err != nil {
		return err
	}
	if current != "" && current != r.job.ReferrerTags[f.Tag] {
		if err := r.isSuperset(ctx, f, current); err != nil {
			return registry.WithSide(err, registry.Destination)
		}
	}
	return r.writeTag(ctx, f.Tag, f.Manifest, func(ctx context.Context) error { return r.reuploadReferrer(ctx, f.Manifest.Digest) })
}

// isSuperset is nil where a referrer has all layers of the one that has its tag at
// the destination: cosign adds signatures to those that are there.
func (r *copyOp) isSuperset(ctx context.Context, f Referrer, current digest.Digest) error {
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

// reuploadReferrer sends a referrer of which the destination has turned out to miss
// something, although it has the manifest.
func (r *copyOp) reuploadReferrer(ctx context.Context, d digest.Digest) error {
	w := newGraphWalk(r)
	w.search = nil
	if _, err := w.copy(ctx, d, false); err != nil {
		return err
	}
	return w.reupload(ctx, w.root)
}

// list makes sure that the destination lists what refers to a subject, and says
// whether that was for us to do: where there is no referrers API, clients keep an
// index under a tag (OCI distribution specification, "Pushing Manifests with
// Subject"). Somebody else may write it at the same time, so that it is read
// again after it was written.
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
	return r.updateIndexTag(ctx, subject, referrers, indexTagDelay+rand.N(indexTagDelay)) //nolint:gosec // a time to wait is no secret
}

// listSettles is how long at least it takes until a list that was written is
// looked at again: who has read it before may write it in between.
const indexTagDelay = 100 * time.Millisecond

// addToList is list with a time to wait after each write.
func (r *copyOp) updateIndexTag(ctx context.Context, subject digest.Digest, referrers []Referrer, delay time.Duration) (usesTag bool, err error) {
	for attempt := range maxReads {
		if attempt > 0 {
			select {
			case <-time.After(delay):
			case <-ctx.Done(): // which the next request says
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

func containsReferrer(l registry.ReferrerList, f Referrer) bool {
	return slices.ContainsFunc(l.Referrers, func(d registry.Descriptor) bool { return d.Digest == f.Manifest.Digest })
}

// writeList adds referrers to the list that is kept under a tag. What is on it
// stays, except for what is gone: a registry does not take an index of that. Where
// a referrer is gone that was brought just now, its refusal stands.
func (r *copyOp) writeIndexTag(ctx context.Context, listing registry.ReferrerList, referrers []Referrer) error {
	destination := r.job.Destination
	if held := listing.Held; held.Digest != "" && held.MediaType != ocispec.MediaTypeImageIndex {
		return &registry.Error{Side: registry.Destination, Op: "write the tag", Repository: destination.Name(), Reference: listing.Tag, Kind: registry.ErrTagHeld,
			Message: fmt.Sprintf("it is where clients list referrers, and holds something else, %s of the type %s", held.Digest, registry.Sanitize(r.redact(held.MediaType))),
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
