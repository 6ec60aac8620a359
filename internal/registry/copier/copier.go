// Package copier copies the graph of a manifest from one Repository to another.
// It pushes children before their parents and the tags last, and never changes a byte.
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

// Copier copies images between repositories. It owns the table of blobs that are being
// uploaded or known to exist, so a process should have only one. It is safe for
// concurrent use.
type Copier struct {
	log       *slog.Logger
	blobs     *blobTable
	indexTags keyedMutex
	memory    *registry.Memory
	progress  progress
}

// New returns a Copier that logs one line for each blob and manifest to log, at debug
// level. If log is nil, it does not log.
func New(log *slog.Logger) *Copier {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Copier{log: log, blobs: newBlobTable(), memory: registry.NewMemory(registry.DefaultManifestMemory)}
}

// Memory returns the memory that the manifests of all copies are charged to. The
// clients of a process also charge manifests that they read outside of copies to it.
func (c *Copier) Memory() *registry.Memory { return c.memory }

// Copy runs a job. The report describes what was done even if the error is not nil.
// The error is a *registry.Error with the side that failed, or the unchanged error of
// Job.MayReplace. If the context ended, the error also matches the context's error.
func (c *Copier) Copy(ctx context.Context, job Job) (Report, error) {
	report, err := c.report(ctx, job, func(ctx context.Context, r *copyOp) error { return r.copy(ctx) })
	c.logResult(ctx, job, report, err)
	return report, err
}

// report runs do for a job and returns what it did.
func (c *Copier) report(ctx context.Context, job Job, do func(context.Context, *copyOp) error) (Report, error) {
	began := time.Now()
	t := &stats{}
	ctx, r, end := c.newCopyOp(ctx, job, job.String())
	defer end()
	r.stats = t
	err := job.validate() // before the first request
	if err == nil {
		err = do(registry.WithTrace(ctx, t.trace()), r)
	}
	return t.finish(time.Since(began)), r.finalizeError(ctx, err)
}

// newCopyOp returns the operation for a job, the context of its requests, which are one
// flow, and a function that releases its memory. Errors of copies that wait for this one
// contain name.
func (c *Copier) newCopyOp(ctx context.Context, job Job, name string) (context.Context, *copyOp, func()) {
	r := &copyOp{copier: c, job: job, stats: &stats{}, name: name, memory: c.memory.Reserve(job.memoryKey(), name)}
	return registry.WithFlow(ctx, name), r, r.memory.Release
}

// logResult logs the outcome of a job.
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
		outcome = "image copy failed"
		attrs = append(attrs, "error", err)
	case report.Manifests == 0:
		outcome = "image already exists"
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

// withContextError adds ctx.Err() to err if the context ended and err is retryable, because
// the client might have retried the request otherwise. If the deadline expired and err has
// no message, withContextError adds one with the longest wait of the copy.
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

// copyOp is one copy in progress.
type copyOp struct {
	copier       *Copier
	job          Job
	stats        *stats
	digest       digest.Digest // of the root
	fresh        bool          // none of the job's tags exists at the destination
	name         string        // describes the copy in errors of other copies
	memory       *registry.Reservation
	rootPushed   bool              // the root was pushed by digest, because a referrer needs it
	rootManifest registry.Manifest // the root (or the index it was selected from), if resolving it also read it
}

// finalizeError redacts credentials echoed by a registry and adds a default hint if err
// has none. It also adds the context's error; see withContextError.
func (r *copyOp) finalizeError(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*registry.Error](err); !ok {
		return err
	}
	return registry.WithDefaultHint(registry.RedactError(withContextError(ctx, err), r.redact))
}

// redact replaces the credentials of both registries in text.
func (r *copyOp) redact(text string) string {
	return r.job.Destination.Redact(r.job.Source.Redact(text))
}

// copy does only what is necessary. If all tags already have the digest, it copies only the
// referrers. If some of them do, or if source and destination are the same repository, it
// also writes the other tags. Otherwise, or if that fails because content is missing, it
// copies the whole graph.
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

// crossRepository reports whether source and destination are different repositories.
func (r *copyOp) crossRepository() bool { return r.job.Source.Name() != r.job.Destination.Name() }

// retag tags a manifest that the destination already has, without requests for blobs.
// It returns false if the destination does not have the complete image and the source
// is another repository.
func (r *copyOp) retag(ctx context.Context, tags []string) (bool, error) {
	m, err := r.rootManifest, error(nil)
	if r.crossRepository() || m.Digest == "" {
		m, err = r.getRetained(ctx, r.digest)
	}
	if (errors.Is(err, registry.ErrNotFound) || errors.Is(err, registry.ErrMismatch)) && r.crossRepository() {
		return false, nil // a damaged manifest is pushed again
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

// getRetained reads a manifest of the destination and reserves the memory for it. If
// other copies use that memory, it drops the manifest, waits, and reads it again.
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

// push pushes a manifest, counts it and logs it.
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

// put pushes a manifest by tag or digest and reports whether this copy wrote it. If the
// registry reports missing content and reupload is not nil, put calls reupload and
// retries once. A conflict is not an error if the tag already has this digest. Then put
// reports true if an earlier attempt may have succeeded.
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

// isTagConflict reports whether err may mean that the tag is immutable and already
// exists: an explicit immutable-tag error, or a status of 409 or 412.
func isTagConflict(err error) bool {
	e, ok := errors.AsType[*registry.Error](err)
	return errors.Is(err, registry.ErrTagImmutable) || ok && (e.Status == 409 || e.Status == 412)
}

// tagConflictError converts the error of pushing to a tag that has the digest current
// to ErrTagImmutable. A 409 is sufficient evidence. A 412 is not if the registry sent a
// code or message, because the failed precondition may come from another policy.
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

// stillMissing adds a hint with possible causes to err if the registry reports missing
// content that was just uploaded again.
func stillMissing(err error) error {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok || !errors.Is(err, registry.ErrMissingContent) {
		return err
	}
	missing := *e
	missing.Hint = "Everything that the manifest names was sent once more, and the registry still misses some of it. Either a garbage collection runs there at the moment, or it does not take what this manifest names: layers that are to be had elsewhere, or an index of something else than manifests."
	return &missing
}
