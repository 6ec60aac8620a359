package copier

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// workers is the number of steps that one copy runs concurrently. The limits of each host
// bound its requests; this number only has to be larger than they usually are.
const workers = 32

// graphWalk copies the graph below a root with a single work queue. Blobs of one child are
// copied while the manifests of its siblings are still being fetched, and a manifest is
// pushed as soon as everything that it references exists at the destination.
type graphWalk struct {
	op   *copyOp
	root *node
	// dryRun walks the graph without a destination, to find referrers or to check it.
	dryRun  bool
	missing *missingContent // collected by a check; nil in every other walk
	search  *referrerSearch // finds referrers; nil if they are not copied

	reuploading chan struct{} // full while reupload runs, so that it sends nothing twice

	mu       sync.Mutex
	wake     *sync.Cond // signaled when there may be work, or none is left
	queue    queue
	nodes    map[key]*node
	bytes    int64 // total size of manifests
	retained int64 // size of retained manifests
	inline   int64 // size of inline data and URLs of descriptors
	found    []Referrer
	active   int          // number of workers that run a step
	failed   []failedStep // failed steps, in order
	canceled bool         // the context had ended when the first step failed
}

// newGraphWalk returns a walk without nodes. It searches for referrers if the job copies them.
func newGraphWalk(r *copyOp) *graphWalk {
	w := &graphWalk{op: r, nodes: map[key]*node{}, reuploading: make(chan struct{}, 1)}
	if r.job.Referrers {
		w.search = &referrerSearch{from: r.job.Source, types: r.job.ReferrerTypes, memory: r.copier.memory, memoryKey: r.job.memoryKey(), reserve: w.reserve}
	}
	w.wake = sync.NewCond(&w.mu)
	return w
}

// copy copies everything below the root and its referrers to the destination, and returns
// the root manifest. It pushes the root only if a referrer depends on it; otherwise,
// writing the tag pushes it. present means that the destination has the complete image.
func (w *graphWalk) copy(ctx context.Context, root digest.Digest, present bool) (registry.Manifest, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.root = w.addNode(rootOf(root), false, 0)
	w.root.present = present
	var group sync.WaitGroup
	for range workers {
		group.Go(func() { w.work(ctx, cancel) })
	}
	group.Wait()
	err := w.cause()
	if err != nil {
		for _, n := range w.nodes {
			n.meter.abandon()
		}
	}
	return w.root.manifest, err
}

// rootOf returns the descriptor of a manifest of which only the digest is known.
func rootOf(d digest.Digest) registry.Descriptor {
	return registry.Descriptor{Digest: d, Size: registry.SizeUnknown}
}

// work runs steps from the queue until the graph is complete or a step has failed.
func (w *graphWalk) work(ctx context.Context, cancel context.CancelFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for len(w.failed) == 0 && len(w.queue) == 0 && w.active > 0 {
			w.wake.Wait()
		}
		if len(w.failed) > 0 || len(w.queue) == 0 {
			w.wake.Broadcast()
			return
		}
		n := heap.Pop(&w.queue).(*node)
		w.active++
		w.mu.Unlock()
		began := time.Now()
		err := w.step(ctx, n)
		w.mu.Lock()
		w.active--
		if err != nil {
			w.canceled = w.canceled || len(w.failed) == 0 && ctx.Err() != nil
			w.failed = append(w.failed, failedStep{err, time.Since(began)})
			cancel()
		}
		w.wake.Broadcast()
	}
}

// failedStep records the error of a step and how long the step took.
type failedStep struct {
	err  error
	took time.Duration
}

// cause returns the error that best explains why the walk ended, or nil if it did not
// fail. If a step failed on its own, its error is the first one, because the others come
// from steps that were then canceled. If the caller's context ended, all steps were
// canceled. Then cause is the step that took the longest, with a preference for one that
// waited for another copy.
func (w *graphWalk) cause() error {
	switch {
	case len(w.failed) == 0:
		return nil
	case !w.canceled:
		return w.failed[0].err
	}
	return slices.MaxFunc(w.failed, func(a, b failedStep) int { return cmp.Compare(a.weight(), b.weight()) }).err
}

// weight ranks the error of a canceled step: by the time that it took, and a quarter
// more if it spent that time waiting for another copy.
func (f failedStep) weight() time.Duration {
	if busy, ok := errors.AsType[*registry.BusyError](f.err); ok && busy.Took >= f.took*4/5 {
		return f.took * 5 / 4
	}
	return f.took
}

// step performs the next step for a node: process a blob, fetch a manifest, or push a
// manifest whose children are complete.
func (w *graphWalk) step(ctx context.Context, n *node) error {
	if n.blob {
		err := w.processBlob(ctx, n)
		if err == nil {
			w.completeNode(n)
		}
		return err
	}
	if !n.fetched {
		if ready, err := w.fetch(ctx, n); !ready {
			return err
		}
	}
	if n == w.root && !w.hasParents(n) {
		return nil
	}
	if !w.skip(n) {
		push := func(m registry.Manifest) error {
			_, err := w.op.put(ctx, m.Digest.String(), m, nil)
			return err
		}
		err := w.withContent(ctx, n, push)
		if errors.Is(err, registry.ErrMissingContent) {
			if err := w.reupload(ctx, n); err != nil {
				return err
			}
			err = stillMissing(w.withContent(ctx, n, push)) // reads it again, because its memory was released
		}
		if err != nil {
			return err
		}
	}
	w.completeNode(n)
	return nil
}

// processBlob copies, re-uploads or checks a blob, depending on the walk's mode.
func (w *graphWalk) processBlob(ctx context.Context, n *node) error {
	switch {
	case w.missing != nil:
		return w.checkBlob(ctx, n)
	case w.skip(n):
		return nil
	case w.op.job.isMissing(n.descriptor.Digest):
		return w.op.forceBlob(ctx, n)
	}
	return w.op.copyBlob(ctx, n)
}

// skip reports whether a node does not have to be written to the destination.
func (w *graphWalk) skip(n *node) bool { return w.dryRun || n.present }

// hasParents reports whether another node waits for n.
func (w *graphWalk) hasParents(n *node) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(n.parents) > 0
}

// completeNode marks a node as complete and queues each parent for which it was the last
// pending child.
func (w *graphWalk) completeNode(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, parent := range n.parents {
		if parent.pending--; parent.pending == 0 {
			heap.Push(&w.queue, parent)
		}
	}
	n.parents, n.done = nil, true
}

// fetch reads a manifest, queues its children, and finds its referrers. It reports whether
// the node is ready for the next part of its step, because it waits for no other node.
func (w *graphWalk) fetch(ctx context.Context, n *node) (bool, error) {
	switch err := w.open(ctx, n); {
	case err == nil:
	case w.isBlob(ctx, n, err):
		w.requeueAsBlob(n)
		return false, nil
	case w.recordUnreadable(n, err):
		return true, nil
	default:
		return false, err
	}
	if w.search != nil {
		if err := w.discoverReferrers(ctx, n); err != nil {
			return false, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n.pending--
	return n.pending == 0, nil
}

// readInterrupted returns the error for a manifest that was not read because err, such as
// the end of the context, prevented it.
func (r *copyOp) readInterrupted(n *node, err error) error {
	return &registry.Error{Side: registry.Source, Op: "read the manifest", Repository: r.job.Source.Name(), Reference: n.descriptor.Digest.String(), Kind: registry.ErrUnavailable, Err: err}
}

// sourceIncomplete converts a not-found error for content that the image references into
// ErrMissingContent, to distinguish it from an image that does not exist.
func (r *copyOp) sourceIncomplete(err error) error {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok || e.Side != registry.Source || !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	incomplete := *e
	incomplete.Kind = registry.ErrMissingContent
	incomplete.Hint = fmt.Sprintf("The image at the source is not complete: %s names this, or something in it does, and it is not there. Push the image there again, or copy it there again from where it came.", r.digest)
	return &incomplete
}

// validateManifest compares a manifest with the descriptor that references it, and parses
// it.
func (w *graphWalk) validateManifest(n *node, m registry.Manifest) (registry.Contents, error) {
	refuse := func(e registry.Error) (registry.Contents, error) {
		e.Side, e.Op, e.Repository, e.Reference = registry.Source, "read the manifest", w.op.job.Source.Name(), m.Digest.String()
		return registry.Contents{}, &e
	}
	want, format := n.descriptor.MediaType, "the index says that it is %q and the registry that it is %q"
	if n == w.root {
		want, format = w.op.job.MediaType, "the registry has said that it is %q and says now that it is %q"
	}
	if want != "" && !strings.EqualFold(want, m.MediaType) {
		return refuse(registry.Error{Kind: registry.ErrInvalidManifest, Message: fmt.Sprintf(format, registry.Sanitize(want), registry.Sanitize(m.MediaType))})
	}
	// A schema 1 manifest has no fixed size, because the registry signs it for each
	// response.
	if want := n.descriptor.Size; want != registry.SizeUnknown && want != int64(len(m.Content)) && !registry.IsSchema1(m.MediaType) {
		return refuse(registry.Error{Kind: registry.ErrMismatch, Message: fmt.Sprintf("it has %d bytes and the index says %d", len(m.Content), want)})
	}
	contents, err := m.Parse()
	if e, ok := errors.AsType[*registry.Error](err); ok {
		return refuse(*e)
	}
	return contents, err
}

// isBlob reports whether a node that could not be read as a manifest is a blob. For a
// child with an unknown media type, only a request can tell. isBlob does not depend on
// the status of err, because registries reject such requests with different ones
// (Distribution 2.8.3 responds with 500).
func (w *graphWalk) isBlob(ctx context.Context, n *node, err error) bool {
	refusal, ok := errors.AsType[*registry.Error](err)
	if n == w.root || registry.IsManifest(n.descriptor.MediaType) || !ok || refusal.Status == 0 {
		return false
	}
	_, err = w.op.job.Source.StatBlob(ctx, n.descriptor.Digest)
	return err == nil
}

// requeueAsBlob reclassifies a node that is not a manifest and queues it as a blob.
func (w *graphWalk) requeueAsBlob(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.blob = true; !w.skip(n) {
		n.meter = w.op.copier.progress.meter(n.size)
	}
	heap.Push(&w.queue, n)
}
