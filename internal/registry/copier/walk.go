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

// workers is how many things one copy does at a time. What a host bears is up
// to the host's limits; this only has to be more than they usually allow.
const workers = 32

// graphWalk copies the graph below a root with one queue of work for all of it: the
// blobs of one child travel while its siblings' manifests are still fetched,
// and a manifest is pushed as soon as all that it names is there.
type graphWalk struct {
	op   *copyOp
	root *node
	// dryRun walks without a destination, to find what refers to the image.
	dryRun  bool
	missing *missingContent // of a check, nil in every other walk
	search  *referrerSearch // for referrers; nil where none are wanted

	reuploading chan struct{} // full while heal runs, so that nothing is sent twice

	mu       sync.Mutex
	wake     *sync.Cond // when there may be something to do, or nothing any more
	queue    queue
	nodes    map[key]*node
	bytes    int64 // of manifests
	kept     int64 // of the manifests whose content is kept
	inline   int64 // of the inline content and URLs of descriptors
	found    []Referrer
	active   int          // workers that do something
	failed   []failedStep // why the walk ends early, in order
	canceled bool         // the copy had ended when the first step failed
}

func newGraphWalk(r *copyOp) *graphWalk {
	w := &graphWalk{op: r, nodes: map[key]*node{}, reuploading: make(chan struct{}, 1)}
	if r.job.Referrers {
		w.search = &referrerSearch{from: r.job.Source, types: r.job.ReferrerTypes, memory: r.copier.memory, memoryKey: r.job.memoryKey(), reserve: w.reserve}
	}
	w.wake = sync.NewCond(&w.mu)
	return w
}

// copy brings everything below the root to the destination, and what refers to
// any of it, and returns the root. It is not pushed where nothing refers to it:
// that is for the tag to do. held says that the destination has the root whole.
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

// rootOf is what is known of a manifest that nothing has named.
func rootOf(d digest.Digest) registry.Descriptor {
	return registry.Descriptor{Digest: d, Size: registry.SizeUnknown}
}

// work does what is ready until nothing is left or something failed.
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

// failedStep is the error of a step, and how long the step took.
type failedStep struct {
	err  error
	took time.Duration
}

// cause returns the error that says the most about why the walk ended, nil if it
// did not fail. If a step failed, its error is the first, because the others are of
// canceled steps. If the copy was ended from outside, all steps were canceled: the
// step that waited the longest for another copy is the cause, or else the one that
// took the longest.
func (w *graphWalk) cause() error {
	switch {
	case len(w.failed) == 0:
		return nil
	case !w.canceled:
		return w.failed[0].err
	}
	return slices.MaxFunc(w.failed, func(a, b failedStep) int { return cmp.Compare(a.weight(), b.weight()) }).err
}

// weight is how much the error of a step that was canceled says: the time that it
// took, or a quarter more if it was spent waiting for another copy.
func (f failedStep) weight() time.Duration {
	if busy, ok := errors.AsType[*registry.BusyError](f.err); ok && busy.Took >= f.took*4/5 {
		return f.took * 5 / 4
	}
	return f.took
}

// step does the next thing for a node: bring a blob, fetch a manifest, or push
// one whose children are there.
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
			err = stillMissing(w.withContent(ctx, n, push)) // read again: its memory was released
		}
		if err != nil {
			return err
		}
	}
	w.completeNode(n)
	return nil
}

// processBlob does for a blob what the walk is for.
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

// skip says that nothing has to be done for a node at the destination.
func (w *graphWalk) skip(n *node) bool { return w.dryRun || n.present }

// hasParents says whether something waits for a node.
func (w *graphWalk) hasParents(n *node) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(n.parents) > 0
}

// completeNode tells the parents of a node that it is at the destination. Who has no
// child left to wait for is ready to be pushed.
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

// fetch reads a manifest, queues what it names, and finds what refers to it. It
// returns true where the node can be pushed at once.
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

// readInterrupted is the error of a manifest that was not read any more.
func (r *copyOp) readInterrupted(n *node, err error) error {
	return &registry.Error{Side: registry.Source, Op: "read the manifest", Repository: r.job.Source.Name(), Reference: n.descriptor.Digest.String(), Kind: registry.ErrUnavailable, Err: err}
}

// sourceIncomplete says of what is missing at the source that the image names it: that
// is not an image that is not there.
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

// check holds what came against what named it, and reads it.
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
	// A schema 1 manifest is signed anew each time and has no size of its own.
	if want := n.descriptor.Size; want != registry.SizeUnknown && want != int64(len(m.Content)) && !registry.IsSchema1(m.MediaType) {
		return refuse(registry.Error{Kind: registry.ErrMismatch, Message: fmt.Sprintf("it has %d bytes and the index says %d", len(m.Content), want)})
	}
	contents, err := m.Parse()
	if e, ok := errors.AsType[*registry.Error](err); ok {
		return refuse(*e)
	}
	return contents, err
}

// isBlob says whether what could not be read as a manifest is a blob: of a child
// of a media type that nobody knows, only asking tells. Registries refuse a blob
// as a manifest in many ways (2.8.3 answers 500).
func (w *graphWalk) isBlob(ctx context.Context, n *node, err error) bool {
	refusal, ok := errors.AsType[*registry.Error](err)
	if n == w.root || registry.IsManifest(n.descriptor.MediaType) || !ok || refusal.Status == 0 {
		return false
	}
	_, err = w.op.job.Source.StatBlob(ctx, n.descriptor.Digest)
	return err == nil
}

// requeueAsBlob makes a blob of a node that turned out to be no manifest.
func (w *graphWalk) requeueAsBlob(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.blob = true; !w.skip(n) {
		n.meter = w.op.copier.progress.meter(n.size)
	}
	heap.Push(&w.queue, n)
}
