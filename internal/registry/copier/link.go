package copier

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// link makes what came along findable at the destination: by the tags that it had
// at the source, and by lists where the destination keeps none itself.
func (r *run) link(ctx context.Context, found []Referrer) error {
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
	group.Go(func() error { return r.listAll(groupCtx, listed) })
	if err := group.Wait(); err != nil {
		return err
	}
	r.tally.referrers(found)
	return nil
}

// listAll lists what refers to each subject. A destination that does so itself
// is asked once.
func (r *run) listAll(ctx context.Context, referrers map[digest.Digest][]Referrer) error {
	subjects := slices.Sorted(maps.Keys(referrers))
	if len(subjects) == 0 {
		return nil
	}
	ours, err := r.list(ctx, subjects[0], referrers[subjects[0]])
	if err != nil || !ours {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, subject := range subjects[1:] {
		group.Go(func() error {
			_, err := r.list(groupCtx, subject, referrers[subject])
			return err
		})
	}
	return group.Wait()
}

// tagReferrer puts a tag on a referrer that is found by it.
func (r *run) tagReferrer(ctx context.Context, f Referrer) error {
	held, err := r.look(ctx, f.Tag, f.Manifest.Digest)
	if err != nil || held == f.Manifest.Digest {
		return err
	}
	if err := r.mayReplace(f.Tag, held, f.Manifest.Digest); err != nil {
		return err
	}
	return r.tag(ctx, f.Tag, f.Manifest, nil)
}

// list makes sure that the destination lists what refers to a subject, and says
// whether that was for us to do: where there is no referrers API, clients keep an
// index under a tag (OCI distribution specification, "Pushing Manifests with
// Subject"). Somebody else may write it at the same time, so that it is read
// again after it was written.
func (r *run) list(ctx context.Context, subject digest.Digest, referrers []Referrer) (ours bool, err error) {
	done, err := r.copier.turns.take(ctx, r.job.Destination.Name()+" "+subject.String())
	if err != nil {
		return false, &registry.Error{Side: registry.Destination, Op: "list the referrers of", Repository: r.job.Destination.Name(), Reference: subject.String(), Kind: registry.ErrUnavailable, Err: err}
	}
	defer done()
	for range looks {
		listing, err := r.job.Destination.ListReferrers(ctx, subject)
		ours = listing.Tag != ""
		if err != nil || !ours || !slices.ContainsFunc(referrers, func(f Referrer) bool { return !lists(listing, f) }) {
			return ours, registry.OnSide(err, registry.Destination)
		}
		if err := r.writeList(ctx, listing, referrers); err != nil {
			return ours, err
		}
	}
	return ours, &registry.Error{Side: registry.Destination, Op: "list the referrers of", Repository: r.job.Destination.Name(), Reference: subject.String(), Kind: registry.ErrMismatch,
		Message: fmt.Sprintf("the registry took the list of them under the tag %s %d times, and the tag holds another one", registry.ReferrersTag(subject), looks),
		Hint:    "Somebody else writes it at the same time, or the registry does not keep what it takes. Try it again, and see who else attaches signatures or SBOMs there."}
}

func lists(l registry.Listing, f Referrer) bool {
	return slices.ContainsFunc(l.Referrers, func(d registry.Descriptor) bool { return d.Digest == f.Manifest.Digest })
}

// writeList adds referrers to the list that is kept under a tag. What is on it
// stays, except for what is gone: a registry does not take an index of that. Where
// a referrer is gone that was brought just now, its refusal stands.
func (r *run) writeList(ctx context.Context, listing registry.Listing, referrers []Referrer) error {
	destination := r.job.Destination
	if held := listing.Held; held.Digest != "" && held.MediaType != ocispec.MediaTypeImageIndex {
		return &registry.Error{Side: registry.Destination, Op: "write the tag", Repository: destination.Name(), Reference: listing.Tag, Kind: registry.ErrTagHeld,
			Message: fmt.Sprintf("it is where clients list referrers, and holds something else, %s of the type %s", held.Digest, registry.Clean(r.mask(held.MediaType))),
			Hint:    "The registry has no referrers API, so that signatures and SBOMs are found by this tag alone. Remove the tag, or do not bring referrers there."}
	}
	var descriptors []registry.Descriptor
	for _, f := range referrers {
		d := f.Manifest.Descriptor()
		d.ArtifactType, d.Annotations = f.ArtifactType, f.Annotations
		descriptors = append(descriptors, d)
	}
	index, err := listing.Held.With(descriptors)
	if err != nil {
		return registry.OnSide(err, registry.Destination)
	}
	_, err = r.put(ctx, listing.Tag, index, nil)
	if !errors.Is(err, registry.ErrMissingContent) {
		return err
	}
	index, goneErr := index.Without(func(d registry.Descriptor) bool {
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
