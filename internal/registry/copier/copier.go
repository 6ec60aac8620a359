package copier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Copier copies. It owns the table of blobs that are under way or known to be
// somewhere, for the whole process, so that a process needs one. It is safe for
// concurrent use.
type Copier struct {
	log      *slog.Logger
	blobs    *blobTable
	progress progress
}

// New makes a Copier that tells log, at debug level, one line a blob and
// manifest; nowhere where nil.
func New(log *slog.Logger) *Copier {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Copier{log: log, blobs: newBlobTable()}
}

// Copy does a job. The report says what was done, also where the error is not
// nil; the error is an *registry.Error that says which side failed.
func (c *Copier) Copy(ctx context.Context, job Job) (Report, error) {
	began := time.Now()
	t := &tally{}
	r := &run{copier: c, job: job, tally: t}
	err := r.copy(registry.WithTrace(ctx, t.trace()))
	report := t.done(time.Since(began))
	level, outcome := slog.LevelDebug, "copied"
	if err != nil {
		outcome = "failed"
	} else if report.Manifests == 0 {
		outcome = "nothing to do"
	}
	c.log.Log(ctx, level, "image "+outcome,
		"source", job.Source.Name(), "destination", job.Destination.Name(), "digest", report.Digest, "tags", report.Tagged,
		"blobs_copied", report.Copied.Blobs, "bytes_copied", report.Copied.Bytes, "blobs_mounted", report.Mounted.Blobs,
		"blobs_already_there", report.Present.Blobs, "manifests", report.Manifests,
		"requests", report.Requests, "retries", report.Retries, "took", report.Duration)
	return report, err
}

// run is one copy on its way.
type run struct {
	copier *Copier
	job    Job
	tally  *tally
	digest digest.Digest // the root's
}

// copy decides what is needed: nothing where every tag holds the digest, the
// tags alone where the destination has the manifest, and everything else.
func (r *run) copy(ctx context.Context) error {
	held, err := r.survey(ctx)
	if err != nil {
		return err
	}
	missing := r.missing(held)
	if len(missing) == 0 && len(r.job.Tags) > 0 {
		return nil
	}
	for _, tag := range missing {
		if err := r.mayReplace(tag, held[tag]); err != nil {
			return err
		}
	}
	if r.job.Source.Name() == r.job.Destination.Name() || len(missing) < len(r.job.Tags) {
		done, err := r.retag(ctx, missing)
		if done || err != nil {
			return err
		}
	}
	w := newWalk(r)
	root, err := w.copy(ctx, r.digest)
	if err != nil {
		return err
	}
	return r.finish(ctx, root, missing, func(ctx context.Context) error { return w.heal(ctx, w.root) })
}

// survey asks both sides at once what the reference and the tags name. The
// reference is resolved here and never again.
func (r *run) survey(ctx context.Context) (map[string]digest.Digest, error) {
	group, surveyCtx := errgroup.WithContext(ctx)
	r.digest = r.job.Digest
	if r.digest == "" {
		group.Go(func() error {
			d, err := r.job.Source.Resolve(surveyCtx, r.job.Reference)
			r.digest = d.Digest
			return registry.OnSide(err, registry.Source)
		})
	}
	holding := make([]registry.Descriptor, len(r.job.Tags))
	for i, tag := range r.job.Tags {
		group.Go(func() (err error) {
			holding[i], err = r.holding(surveyCtx, tag)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	r.tally.root(registry.Descriptor{Digest: r.digest})
	held := map[string]digest.Digest{}
	for i, tag := range r.job.Tags {
		d := holding[i].Digest
		if d != "" && d.Algorithm() != r.digest.Algorithm() {
			d = r.sameAlgorithm(ctx, tag, d)
		}
		if held[tag] = d; d == r.digest {
			r.tally.root(holding[i])
			r.tally.tagged(tag)
		}
	}
	return held, nil
}

// holding is what a tag of the destination names; nothing where it is not there
// or where that may not be known.
func (r *run) holding(ctx context.Context, tag string) (registry.Descriptor, error) {
	d, err := r.job.Destination.Resolve(ctx, tag)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return registry.Descriptor{}, nil
	case errors.Is(err, registry.ErrDenied) && r.job.MayReplace == nil:
		return registry.Descriptor{}, nil // whether it may be written shows when it is
	}
	return d, registry.OnSide(err, registry.Destination)
}

// sameAlgorithm is what a tag holds in the algorithm of the wanted digest: a
// registry may know a manifest by one of its own choice.
func (r *run) sameAlgorithm(ctx context.Context, tag string, otherwise digest.Digest) digest.Digest {
	m, err := r.job.Destination.GetManifest(ctx, tag)
	if err != nil {
		return otherwise
	}
	return r.digest.Algorithm().FromBytes(m.Content)
}

func (r *run) missing(held map[string]digest.Digest) []string {
	return slices.DeleteFunc(slices.Clone(r.job.Tags), func(tag string) bool { return held[tag] == r.digest })
}

func (r *run) mayReplace(tag string, held digest.Digest) error {
	if r.job.MayReplace == nil || held == "" || held == r.digest {
		return nil
	}
	return r.job.MayReplace(tag, held)
}

// retag puts tags on a manifest that the destination has: no blob is asked for.
// It returns false where the destination does not have it, or not whole, and
// the source is somewhere else.
func (r *run) retag(ctx context.Context, tags []string) (bool, error) {
	m, err := r.job.Destination.GetManifest(ctx, r.digest.String())
	elsewhere := r.job.Source.Name() != r.job.Destination.Name()
	if errors.Is(err, registry.ErrNotFound) && elsewhere {
		return false, nil
	}
	if err != nil {
		return false, registry.OnSide(err, registry.Destination)
	}
	err = r.finish(ctx, m, tags, nil)
	if errors.Is(err, registry.ErrMissingContent) && elsewhere {
		return false, nil
	}
	return true, err
}

// finish writes the root under each tag, or under its digest where there is
// none. It is the last that a copy does, so that a copy that fails moves no
// tag. heal brings what the registry turns out to miss; nil where nothing can.
func (r *run) finish(ctx context.Context, root registry.Manifest, tags []string, heal func(context.Context) error) error {
	r.tally.root(root.Descriptor())
	names := tags
	if len(r.job.Tags) == 0 || r.digest.Algorithm() != digest.Canonical {
		// Under a tag a registry stores a manifest by an algorithm of its own
		// choice; under its digest it has to take this one.
		names = append([]string{r.digest.String()}, tags...)
	}
	for _, name := range names {
		byTag := name != r.digest.String()
		if byTag {
			if err := r.lastLook(ctx, name); err != nil {
				return err
			}
		}
		if err := r.put(ctx, name, root, heal); err != nil {
			return err
		}
		if !byTag {
			continue
		}
		if err := r.confirm(ctx, name); err != nil {
			return err
		}
		r.tally.tagged(name)
	}
	return nil
}

// lastLook asks again just before a tag is written that not everything may be
// replaced under: somebody may have written it since.
func (r *run) lastLook(ctx context.Context, tag string) error {
	if r.job.MayReplace == nil {
		return nil
	}
	d, err := r.holding(ctx, tag)
	if err != nil {
		return err
	}
	return r.mayReplace(tag, d.Digest)
}

// put pushes the root under a name. A tag that may not move is fine where it
// holds the digest already, and content that turns out to be missing is brought
// once.
func (r *run) put(ctx context.Context, name string, root registry.Manifest, heal func(context.Context) error) error {
	err := r.push(ctx, name, root)
	if errors.Is(err, registry.ErrMissingContent) && heal != nil {
		if err := heal(ctx); err != nil {
			return err
		}
		err = r.push(ctx, name, root)
	}
	if errors.Is(err, registry.ErrTagImmutable) {
		if d, lookErr := r.job.Destination.Resolve(ctx, name); lookErr == nil && d.Digest == r.digest {
			return nil
		}
	}
	return registry.OnSide(err, registry.Destination)
}

// push puts a manifest and tells about it.
func (r *run) push(ctx context.Context, name string, m registry.Manifest) error {
	began := time.Now()
	err := r.job.Destination.PutManifest(ctx, name, m)
	if err == nil {
		r.tally.manifest()
		r.copier.log.DebugContext(ctx, "manifest pushed", "destination", r.job.Destination.Name(), "as", name,
			"digest", m.Digest, "media_type", m.MediaType, "size", len(m.Content), "took", time.Since(began))
	}
	return err
}

const (
	// looks is how often a tag that was written is looked at until it shows
	// what was written: some registries are a moment behind themselves.
	looks     = 4
	firstLook = 100 * time.Millisecond
)

// confirm asks what a tag holds that was just written.
func (r *run) confirm(ctx context.Context, tag string) error {
	wait := firstLook
	for look := 1; ; look++ {
		d, err := r.job.Destination.Resolve(ctx, tag)
		if err == nil && registry.SameDigest(d.Digest, r.digest) {
			return nil
		}
		if errors.Is(err, registry.ErrDenied) {
			return nil // may write and not read: there is nothing to confirm with
		}
		if err != nil && !errors.Is(err, registry.ErrNotFound) {
			return registry.OnSide(err, registry.Destination)
		}
		if look == looks {
			found := "nothing"
			if err == nil {
				found = d.Digest.String()
			}
			return &registry.Error{Side: registry.Destination, Op: "confirm the tag", Repository: r.job.Destination.Name(), Reference: tag, Kind: registry.ErrMismatch,
				Message: fmt.Sprintf("the registry took %s and the tag holds %s", r.digest, found),
				Hint:    "Somebody else wrote the tag at the same time, or the registry does not keep what it takes. See who else pushes to it."}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return &registry.Error{Side: registry.Destination, Op: "confirm the tag", Repository: r.job.Destination.Name(), Reference: tag, Kind: registry.ErrUnavailable, Err: context.Cause(ctx)}
		}
		wait *= 2
	}
}
