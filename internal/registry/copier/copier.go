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
	log       *slog.Logger
	blobs     *blobTable
	indexTags keyedMutex
	memory    *registry.Memory
	progress  progress
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
	r.stats = t
	err := job.validate() // before anybody is asked anything
	if err == nil {
		err = do(registry.WithTrace(ctx, t.trace()), r)
	}
	return t.finish(time.Since(began)), r.finalizeError(ctx, err)
}

// newCopyOp returns a run of a job, the context of its requests, which are one flow,
// and a function that ends it. name describes the run in errors of other copies.
func (c *Copier) newCopyOp(ctx context.Context, job Job, name string) (context.Context, *copyOp, func()) {
	r := &copyOp{copier: c, job: job, stats: &stats{}, name: name, memory: c.memory.Reserve(job.memoryKey(), name)}
	return registry.WithFlow(ctx, name), r, r.memory.Release
}

// logResult logs what became of a job.
func (c *Copier) logResult(ctx context.Context, job Job, report Report, err error) {
	outcome := "image copied"
	attrs := []any{
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
		attrs = append(attrs, "error", err)
	case report.Manifests == 0:
		outcome = "image is there already"
	}
	c.log.DebugContext(ctx, outcome, attrs...)
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
	ctxErr := ctx.Err()
	e, ok := errors.AsType[*registry.Error](err)
	if ctxErr == nil || !ok || !errors.Is(e.Kind, registry.ErrUnavailable) && !errors.Is(e.Kind, registry.ErrRateLimited) {
		return err
	}
	withContext := *e
	timedOut := errors.Is(ctxErr, context.DeadlineExceeded)
	if timedOut && withContext.Message == "" {
		withContext.Message = "the time for the copy is over"
		if slowest, waited := registry.FlowOf(ctx).Slowest(); waited {
			withContext.Message += ", and the longest wait was for " + delayText(slowest)
		}
	}
	if timedOut && withContext.Hint == "" {
		withContext.Hint = "Give the copy more time, or see what makes it slow: what was copied so far stays, and the next attempt goes on from there."
	}
	switch {
	case errors.Is(err, ctxErr):
	case e.Err == nil:
		withContext.Err = ctxErr
	default:
		withContext.Err = fmt.Errorf("%w: %w", e.Err, ctxErr)
	}
	return &withContext
}

// copyOp is one copy on its way.
type copyOp struct {
	copier       *Copier
	job          Job
	stats        *stats
	digest       digest.Digest // the root's
	fresh        bool          // no tag of the job holds anything yet
	name         string        // describes the copy to others
	memory       *registry.Reservation
	rootPushed   bool              // the root was put by its digest, because something refers to it
	rootManifest registry.Manifest // the root, where finding out what it is brought it
}

// finalizeError is the error of a copy as people are finalizeError it: what it quotes of a
// manifest is rid of the credentials that its registry put there, and there is
// advice where there can be.
func (r *copyOp) finalizeError(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*registry.Error](err); !ok {
		return err
	}
	return registry.WithDefaultHint(registry.RedactError(withContextError(ctx, err), r.redact))
}

// mask hides in text what either side was sent to prove who asks.
func (r *copyOp) redact(text string) string {
	return r.job.Destination.Redact(r.job.Source.Redact(text))
}

// copy decides what is needed: nothing where every tag holds the digest, the
// tags alone where the destination has the manifest, and everything else.
func (r *copyOp) copy(ctx context.Context) error {
	current, err := r.resolveTags(ctx)
	if err != nil {
		return err
	}
	missing := slices.DeleteFunc(slices.Clone(r.job.Tags), func(tag string) bool { return current[tag] == r.digest })
	repair := len(r.job.Missing) > 0
	if len(missing) == 0 && len(r.job.Tags) > 0 && !repair {
		return r.copyReferrers(ctx)
	}
	for _, tag := range missing {
		if err := r.checkOverwrite(tag, current[tag], r.digest); err != nil {
			return err
		}
	}
	r.fresh = !slices.ContainsFunc(r.job.Tags, func(tag string) bool { return current[tag] != "" })
	if !r.crossRepository() || len(missing) < len(r.job.Tags) && !repair {
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
	if r.rootPushed = w.root.done; w.search != nil {
		if err := r.publishReferrers(ctx, w.found); err != nil {
			return err
		}
	}
	return r.writeTags(ctx, root, missing, func(ctx context.Context) error { return w.reupload(ctx, w.root) })
}

// elsewhere says whether the source is another repository than the destination.
func (r *copyOp) crossRepository() bool { return r.job.Source.Name() != r.job.Destination.Name() }

// retag puts tags on a manifest that the destination has: no blob is asked for.
// It returns false where the destination does not have it, or not whole, and
// the source is somewhere else.
func (r *copyOp) retag(ctx context.Context, tags []string) (bool, error) {
	m, err := r.rootManifest, error(nil)
	if r.crossRepository() || m.Digest == "" {
		m, err = r.getRetained(ctx, r.digest)
	}
	if (errors.Is(err, registry.ErrNotFound) || errors.Is(err, registry.ErrMismatch)) && r.crossRepository() {
		return false, nil // a damaged manifest is written again
	}
	if err != nil {
		return false, registry.WithSide(err, registry.Destination)
	}
	if err := r.copyReferrers(ctx); err != nil {
		return false, err
	}
	err = r.writeTags(ctx, m, tags, nil)
	if errors.Is(err, registry.ErrMissingContent) && r.crossRepository() {
		return false, nil
	}
	return true, err
}

// readKept reads a manifest of the destination and reserves the memory for it. If that
// is in use by other copies, it waits without the manifest, and reads it again.
func (r *copyOp) getRetained(ctx context.Context, d digest.Digest) (registry.Manifest, error) {
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
		r.stats.addManifest(m.Digest)
		r.copier.log.DebugContext(ctx, "manifest pushed", "destination", r.job.Destination.Name(), "as", name,
			"digest", m.Digest, "media_type", r.redact(m.MediaType), "size", len(m.Content), "took", time.Since(began))
	}
	return err
}

// put pushes a manifest under a name and reports whether this copy wrote it. If
// the registry reports missing content, put calls heal, which may be nil, and
// tries once more. A refusal is not an error if the name holds the manifest already.
// Then this copy wrote it if an earlier attempt may have succeeded.
func (r *copyOp) put(ctx context.Context, name string, m registry.Manifest, reupload func(context.Context) error) (bool, error) {
	err := r.push(ctx, name, m)
	maybeWritten := isMaybeDone(err)
	if errors.Is(err, registry.ErrMissingContent) && reupload != nil {
		if err := reupload(ctx); err != nil {
			return false, err
		}
		err = stillMissing(r.push(ctx, name, m))
		maybeWritten = maybeWritten || isMaybeDone(err)
	}
	if isTagConflict(err) {
		current, resolveErr := r.currentTagDigest(ctx, name, m.Digest)
		if resolveErr == nil && current == m.Digest {
			return maybeWritten, nil
		}
		if resolveErr == nil && current != "" {
			err = tagConflictError(err, current)
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
func tagConflictError(err error, current digest.Digest) error {
	e, ok := errors.AsType[*registry.Error](err)
	noDetail := ok && e.Code == "" && e.Message == ""
	if !ok || errors.Is(err, registry.ErrTagImmutable) || e.Status != 409 && !noDetail {
		return err
	}
	conflict := *e
	conflict.Kind, conflict.Hint = registry.ErrTagImmutable, registry.DefaultHint(registry.ErrTagImmutable)
	if noDetail {
		conflict.Message = fmt.Sprintf("the tag is immutable and holds %s", current)
	}
	return &conflict
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
	missing := *e
	missing.Hint = "Everything that the manifest names was sent once more, and the registry still misses some of it. Either a garbage collection runs there at the moment, or it does not take what this manifest names: layers that are to be had elsewhere, or an index of something else than manifests."
	return &missing
}
