package copier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// discoverReferrers finds the referrers of a manifest and adds them to the graph. If other
// copies use the memory to retain them, it drops them, waits, and searches again.
func (w *graphWalk) discoverReferrers(ctx context.Context, n *node) error {
	for {
		found, err := w.search.find(ctx, n.descriptor.Digest)
		if needs, ok := errors.AsType[memoryNeededError](err); ok {
			if err := w.op.memory.Grow(ctx, int64(needs)+largeManifest); err != nil {
				return w.op.readInterrupted(n, err)
			}
			continue
		}
		if err != nil {
			return registry.WithSide(err, registry.Source)
		}
		for _, r := range found {
			present := w.existsAtDestination(ctx, r)
			if err := w.addReferrer(n, r, present); err != nil {
				return err
			}
		}
		return nil
	}
}

// reserve reserves the memory for the referrers that the search retains. If other copies
// use that memory, it returns a memoryNeededError.
func (w *graphWalk) reserve() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if needs := w.needs(0); !w.op.memory.TryGrow(needs) {
		return memoryNeededError(needs)
	}
	return nil
}

// memoryNeededError is the error of a search that must be repeated after the walk has
// reserved this number of bytes.
type memoryNeededError int64

// Error implements error.
func (e memoryNeededError) Error() string {
	return fmt.Sprintf("the referrers need %d bytes of memory for manifests", int64(e))
}

// existsAtDestination reports whether the destination already has a referrer. It sends no
// request if none of the job's tags exists there, because the referrer is then unlikely to.
func (w *graphWalk) existsAtDestination(ctx context.Context, r Referrer) bool {
	if w.dryRun || w.op.fresh || len(w.op.job.Missing) > 0 {
		return false
	}
	d, err := w.op.job.Destination.Resolve(ctx, r.Manifest.Digest.String())
	return err == nil && d.Digest == r.Manifest.Digest
}

// addReferrer adds the node of a referrer. The referrer waits for its subject, because a
// registry may reject a manifest whose subject does not exist. It is not a child of the
// subject, which is complete without it.
func (w *graphWalk) addReferrer(subject *node, r Referrer, present bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found = append(w.found, r)
	d := r.Manifest.Descriptor()
	if _, known := w.nodes[key{d.Digest, false}]; known {
		return nil // the image references it too, or it was found twice
	}
	switch {
	case subject.depth == maxDepth:
		return w.limit("what refers to it is referred to in turn, more than %d times", maxDepth)
	case len(w.nodes) == maxNodes:
		return w.limit("it has more than %d manifests and blobs", maxNodes)
	}
	n := w.addNode(d, false, subject.depth+1)
	n.manifest, n.present = r.Manifest, present
	if w.bytes += n.declaredSize(); w.bytes > maxManifestBytes {
		return w.tooManyBytes()
	}
	// A referrer that was found by tag does not reference its subject, so waiting for the
	// subject could create a cycle.
	if !subject.done && r.Tag == "" {
		subject.parents = append(subject.parents, n)
		n.pending++
	}
	return nil
}

// digestOf returns a digest of the subjects, digests and tags of referrers, in any order.
func digestOf(referrers []Referrer) digest.Digest {
	var lines []string
	for _, r := range referrers {
		lines = append(lines, r.Subject.String()+" "+r.Manifest.Digest.String()+" "+r.Tag+"\n")
	}
	slices.Sort(lines)
	return digest.FromString(strings.Join(lines, ""))
}

// FindReferrers finds all referrers that a copy of the job would copy, without copying
// anything. The report contains only the referrers and the requests.
func (c *Copier) FindReferrers(ctx context.Context, job Job) (Report, error) {
	return c.report(ctx, job, func(ctx context.Context, r *copyOp) error {
		if err := r.resolveSource(ctx); err != nil {
			return registry.WithSide(err, registry.Source)
		}
		return r.findReferrers(ctx)
	})
}

// findReferrers walks the graph without a destination and reports the referrers.
func (r *copyOp) findReferrers(ctx context.Context) error {
	w := newGraphWalk(r)
	w.dryRun = true
	_, err := w.copy(ctx, r.digest, false)
	if err == nil {
		r.stats.setReferrers(w.found)
	}
	return err
}

// copyReferrers copies the referrers of an image that the destination already has.
func (r *copyOp) copyReferrers(ctx context.Context) error {
	switch {
	case !r.job.Referrers:
		return nil
	case !r.crossRepository():
		return r.findReferrers(ctx)
	}
	w := newGraphWalk(r)
	if _, err := w.copy(ctx, r.digest, true); err != nil {
		return err
	}
	return r.publishReferrers(ctx, w.found)
}
