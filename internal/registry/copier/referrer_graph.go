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

// discoverReferrers finds the referrers of a manifest and makes them part of the graph.
// If the memory for them is in use by other copies, it waits without them, and
// searches again.
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

// reserve reserves the memory for the referrers that the search keeps. If it is in use
// by other copies, the error is a needsMemoryError.
func (w *graphWalk) reserve() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if needs := w.needs(0); !w.op.memory.TryGrow(needs) {
		return memoryNeededError(needs)
	}
	return nil
}

// needsMemoryError is the error of a search that has to be repeated when there is memory
// for so many bytes of a walk.
type memoryNeededError int64

func (e memoryNeededError) Error() string {
	return fmt.Sprintf("the referrers need %d bytes of memory for manifests", int64(e))
}

// holds says whether a referrer is at the destination already, which is not worth
// asking where nothing is there yet.
func (w *graphWalk) existsAtDestination(ctx context.Context, r Referrer) bool {
	if w.dryRun || w.op.fresh || len(w.op.job.Missing) > 0 {
		return false
	}
	d, err := w.op.job.Destination.Resolve(ctx, r.Manifest.Digest.String())
	return err == nil && d.Digest == r.Manifest.Digest
}

// addReferrer makes a node of a referrer, which waits for its subject: a registry may
// refuse what refers to nothing. It is no child of it, because a subject is whole
// without what refers to it.
func (w *graphWalk) addReferrer(subject *node, r Referrer, present bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found = append(w.found, r)
	d := r.Manifest.Descriptor()
	if _, known := w.nodes[key{d.Digest, false}]; known {
		return nil // the image names it too, or it refers in two ways
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
	// What is found by a tag does not name its subject, so that there may be a way
	// back from there.
	if !subject.done && r.Tag == "" {
		subject.parents = append(subject.parents, n)
		n.pending++
	}
	return nil
}

// digestOf is a digest over what refers to what, and under which tags.
func digestOf(referrers []Referrer) digest.Digest {
	var lines []string
	for _, r := range referrers {
		lines = append(lines, r.Subject.String()+" "+r.Manifest.Digest.String()+" "+r.Tag+"\n")
	}
	slices.Sort(lines)
	return digest.FromString(strings.Join(lines, ""))
}

// FindReferrers finds everything that a copy of the job would bring along, and
// copies nothing. Of the report it returns what there is to say of referrers, and
// what it cost.
func (c *Copier) FindReferrers(ctx context.Context, job Job) (Report, error) {
	return c.report(ctx, job, func(ctx context.Context, r *copyOp) error {
		if err := r.resolveSource(ctx); err != nil {
			return registry.WithSide(err, registry.Source)
		}
		return r.findReferrers(ctx)
	})
}

// findReferrers walks the image without a destination.
func (r *copyOp) findReferrers(ctx context.Context) error {
	w := newGraphWalk(r)
	w.dryRun = true
	_, err := w.copy(ctx, r.digest, false)
	if err == nil {
		r.stats.setReferrers(w.found)
	}
	return err
}

// bringReferrers brings what refers to an image that the destination has.
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
