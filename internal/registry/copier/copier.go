// Package copier is the engine: it walks the graph of a manifest from one
// Repository into another, children before parents, the tag last, every byte as
// it was.
package copier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Copier copies. It owns the table of blobs that are under way or known to be
// somewhere, for the whole process, so that a process needs one. It is safe for
// concurrent use.
type Copier struct {
	log      *slog.Logger
	blobs    *blobTable
	lists    keyedMutex
	memory   *registry.Memory
	progress progress
}

// New makes a Copier that tells log, at debug level, one line a blob and
// manifest; nowhere where nil.
func New(log *slog.Logger) *Copier {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Copier{log: log, blobs: newBlobTable(), memory: registry.NewMemory(registry.DefaultManifestMemory)}
}

// Memory returns the memory that the manifests of all copies are charged to. The
// clients of a process charge what they read besides copies to the same.
func (c *Copier) Memory() *registry.Memory { return c.memory }

// Copy does a job. The report says what was done, also where the error is not
// nil. The error is an *registry.Error that says which side failed, or what
// Job.MayReplace returned, as it is. Where the context ended it matches the
// context's error too.
func (c *Copier) Copy(ctx context.Context, job Job) (Report, error) {
	report, err := c.report(ctx, job, func(ctx context.Context, r *copyOp) error { return r.copy(ctx) })
	c.logResult(ctx, job, report, err)
	return report, err
}

// report does something about a job and says what was done.
func (c *Copier) report(ctx context.Context, job Job, do func(context.Context, *copyOp) error) (Report, error) {
	began := time.Now()
	t := &stats{}
	ctx, r, end := c.newCopyOp(ctx, job, job.String())
	defer end()
	r.tally = t
	err := job.validate() // before anybody is asked anything
	if err == nil {
		err = do(registry.WithTrace(ctx, t.trace()), r)
	}
	return t.done(time.Since(began)), r.finalizeError(ctx, err)
}

// newCopyOp returns a run of a job, the context of its requests, which are one flow,
// and a function that ends it. name describes the run in errors of other copies.
func (c *Copier) newCopyOp(ctx context.Context, job Job, name string) (context.Context, *copyOp, func()) {
	r := &copyOp{copier: c, job: job, tally: &stats{}, name: name, memory: c.memory.Reserve(job.hosts(), name)}
	return registry.WithFlow(ctx, name), r, r.memory.Release
}

// logResult logs what became of a job.
func (c *Copier) logResult(ctx context.Context, job Job, report Report, err error) {
	outcome := "image copied"
	about := []any{
		"source", job.Source.Name(), "destination", job.Destination.Name(), "digest", report.Digest, "tags", report.Tagged,
		"blobs_copied", report.Copied.Blobs, "bytes_copied", report.Copied.Bytes,
		"blobs_mounted", report.Mounted.Blobs, "bytes_mounted", report.Mounted.Bytes,
		"blobs_already_there", report.Present.Blobs, "bytes_already_there", report.Present.Bytes, "manifests", report.Manifests, "referrers", len(report.Referrers),
		"requests", report.Requests, "retries", report.Retries, "requests_by_host", report.Hosts,
		"longest_wait", report.LongestWait, "longest_wait_for", report.WaitedFor, "took", report.Duration,
	}
	switch {
	case err != nil:
		outcome = "image failed"
		about = append(about, "error", err)
	case report.Manifests == 0:
		outcome = "image is there already"
	}
	c.log.DebugContext(ctx, outcome, about...)
}

// delayText describes what a copy waited for.
func delayText(d registry.Delay) string {
	what := map[registry.WaitReason]string{
		registry.WaitSlot:   "a request slot of " + d.Host,
		registry.WaitShared: "a blob on its way to " + d.Host,
		registry.WaitMemory: "memory for manifests",
		registry.WaitList:   "a list of referrers",
	}[d.Reason]
	if what == "" {
		what = d.Host
	}
	if d.Holder != "" {
		what += ", which was in use by " + d.Holder
	}
	return what
}

// withContextError makes the error of a copy whose context ended say so: what failed
// last may be a fault that was about to be tried again.
func withContextError(ctx context.Context, err error) error {
	why := ctx.Err()
	e, ok := errors.AsType[*registry.Error](err)
	if why == nil || !ok || !errors.Is(e.Kind, registry.ErrUnavailable) && !errors.Is(e.Kind, registry.ErrRateLimited) {
		return err
	}
	told := *e
	over := errors.Is(why, context.DeadlineExceeded)
	if over && told.Message == "" {
		told.Message = "the time for the copy is over"
		if slowest, waited := registry.FlowOf(ctx).Slowest(); waited {
			told.Message += ", and the longest wait was for " + delayText(slowest)
		}
	}
	if over && told.Hint == "" {
		told.Hint = "Give the copy more time, or see what makes it slow: what was copied so far stays, and the next attempt goes on from there."
	}
	switch {
	case errors.Is(err, why):
	case e.Err == nil:
		told.Err = why
	default:
		told.Err = fmt.Errorf("%w: %w", e.Err, why)
	}
	return &told
}

// copyOp is one copy on its way.
type copyOp struct {
	copier *Copier
	job    Job
	tally  *stats
	digest digest.Digest // the root's
	fresh  bool          // no tag of the job holds anything yet
	name   string        // describes the copy to others
	memory *registry.Reservation
	placed bool              // the root was put by its digest, because something refers to it
	known  registry.Manifest // the root, where finding out what it is brought it
}

// finalizeError is the error of a copy as people are finalizeError it: what it quotes of a
// manifest is rid of the credentials that its registry put there, and there is
// advice where there can be.
func (r *copyOp) finalizeError(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*registry.Error](err); !ok {
		return err
	}
	return registry.WithDefaultHint(registry.RedactError(withContextError(ctx, err), r.mask))
}

// mask hides in text what either side was sent to prove who asks.
func (r *copyOp) mask(text string) string { return r.job.Destination.Redact(r.job.Source.Redact(text)) }

// copy decides what is needed: nothing where every tag holds the digest, the
// tags alone where the destination has the manifest, and everything else.
func (r *copyOp) copy(ctx context.Context) error {
	held, err := r.resolveTags(ctx)
	if err != nil {
		return err
	}
	missing := slices.DeleteFunc(slices.Clone(r.job.Tags), func(tag string) bool { return held[tag] == r.digest })
	repair := len(r.job.Missing) > 0
	if len(missing) == 0 && len(r.job.Tags) > 0 && !repair {
		return r.bringReferrers(ctx)
	}
	for _, tag := range missing {
		if err := r.checkOverwrite(tag, held[tag], r.digest); err != nil {
			return err
		}
	}
	r.fresh = !slices.ContainsFunc(r.job.Tags, func(tag string) bool { return held[tag] != "" })
	if !r.elsewhere() || len(missing) < len(r.job.Tags) && !repair {
		done, err := r.retag(ctx, missing)
		if done || err != nil {
			return err
		}
	}
	w := newGraphWalk(r)
	root, err := w.copy(ctx, r.digest, false)
	if err != nil {
		return err
	}
	if r.placed = w.root.done; w.search != nil {
		if err := r.publishReferrers(ctx, w.found); err != nil {
			return err
		}
	}
	return r.writeTags(ctx, root, missing, func(ctx context.Context) error { return w.reupload(ctx, w.root) })
}

// elsewhere says whether the source is another repository than the destination.
func (r *copyOp) elsewhere() bool { return r.job.Source.Name() != r.job.Destination.Name() }

// retag puts tags on a manifest that the destination has: no blob is asked for.
// It returns false where the destination does not have it, or not whole, and
// the source is somewhere else.
func (r *copyOp) retag(ctx context.Context, tags []string) (bool, error) {
	m, err := r.known, error(nil)
	if r.elsewhere() || m.Digest == "" {
		m, err = r.readKept(ctx, r.digest)
	}
	if (errors.Is(err, registry.ErrNotFound) || errors.Is(err, registry.ErrMismatch)) && r.elsewhere() {
		return false, nil // a damaged manifest is written again
	}
	if err != nil {
		return false, registry.WithSide(err, registry.Destination)
	}
	if err := r.bringReferrers(ctx); err != nil {
		return false, err
	}
	err = r.writeTags(ctx, m, tags, nil)
	if errors.Is(err, registry.ErrMissingContent) && r.elsewhere() {
		return false, nil
	}
	return true, err
}

// readKept reads a manifest of the destination and reserves the memory for it. If that
// is in use by other copies, it waits without the manifest, and reads it again.
func (r *copyOp) readKept(ctx context.Context, d digest.Digest) (registry.Manifest, error) {
	for {
		m, err := r.job.Destination.GetManifest(ctx, d.String())
		needs := int64(len(m.Content)) - freeBytes
		if err != nil || r.memory.TryGrow(needs) {
			return m, err
		}
		m = registry.Manifest{}
		if err := r.memory.Grow(ctx, needs); err != nil {
			return m, &registry.Error{Op: "read the manifest", Repository: r.job.Destination.Name(), Reference: d.String(), Kind: registry.ErrUnavailable, Err: err}
		}
	}
}

// push puts a manifest and tells about it.
func (r *copyOp) push(ctx context.Context, name string, m registry.Manifest) error {
	began := time.Now()
	err := r.job.Destination.PutManifest(ctx, name, m)
	if err == nil {
		r.tally.manifest(m.Digest)
		r.copier.log.DebugContext(ctx, "manifest pushed", "destination", r.job.Destination.Name(), "as", name,
			"digest", m.Digest, "media_type", r.mask(m.MediaType), "size", len(m.Content), "took", time.Since(began))
	}
	return err
}

// put pushes a manifest under a name and reports whether this copy wrote it. If
// the registry reports missing content, put calls heal, which may be nil, and
// tries once more. A refusal is not an error if the name holds the manifest already.
// Then this copy wrote it if an earlier attempt may have succeeded.
func (r *copyOp) put(ctx context.Context, name string, m registry.Manifest, heal func(context.Context) error) (bool, error) {
	err := r.push(ctx, name, m)
	maybeWritten := isMaybeDone(err)
	if errors.Is(err, registry.ErrMissingContent) && heal != nil {
		if err := heal(ctx); err != nil {
			return false, err
		}
		err = stillMissing(r.push(ctx, name, m))
		maybeWritten = maybeWritten || isMaybeDone(err)
	}
	if isTagConflict(err) {
		held, lookErr := r.currentTagDigest(ctx, name, m.Digest)
		if lookErr == nil && held == m.Digest {
			return maybeWritten, nil
		}
		if lookErr == nil && held != "" {
			err = tagConflictError(err, held)
		}
	}
	return err == nil, registry.WithSide(err, registry.Destination)
}

// isTagConflict says whether a refusal may mean that the name is taken for good, by
// what was to be put or by something else: a registry that says so, and one that
// says no more than 409 or 412.
func isTagConflict(err error) bool {
	e, ok := errors.AsType[*registry.Error](err)
	return errors.Is(err, registry.ErrTagImmutable) || ok && (e.Status == 409 || e.Status == 412)
}

// tagConflictError is a refusal to put something under a name that holds something else.
// That it conflicts says enough; a failed precondition may be a policy's, where
// the registry has anything to say of it.
func tagConflictError(err error, held digest.Digest) error {
	e, ok := errors.AsType[*registry.Error](err)
	silent := ok && e.Code == "" && e.Message == ""
	if !ok || errors.Is(err, registry.ErrTagImmutable) || e.Status != 409 && !silent {
		return err
	}
	told := *e
	told.Kind, told.Hint = registry.ErrTagImmutable, registry.DefaultHint(registry.ErrTagImmutable)
	if silent {
		told.Message = fmt.Sprintf("the tag is immutable and holds %s", held)
	}
	return &told
}

// isMaybeDone reports whether an earlier attempt of a write may have succeeded.
func isMaybeDone(err error) bool {
	e, ok := errors.AsType[*registry.Error](err)
	return ok && e.MaybeDone
}

// stillMissing says what it may be where a registry misses content that it was
// just sent.
func stillMissing(err error) error {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok || !errors.Is(err, registry.ErrMissingContent) {
		return err
	}
	told := *e
	told.Hint = "Everything that the manifest names was sent once more, and the registry still misses some of it. Either a garbage collection runs there at the moment, or it does not take what this manifest names: layers that are to be had elsewhere, or an index of something else than manifests."
	return &told
}
