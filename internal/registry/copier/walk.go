package copier

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// workers is how many things one copy does at a time. What a host bears is up
// to the host's limits; this only has to be more than they usually allow.
const workers = 32

// walk copies the graph below a root with one queue of work for all of it: the
// blobs of one child travel while its siblings' manifests are still fetched,
// and a manifest is pushed as soon as all that it names is there.
type walk struct {
	run  *run
	root *node

	healing sync.Mutex // held by heal, so that nothing is sent twice

	mu     sync.Mutex
	wake   *sync.Cond // when there may be something to do, or nothing any more
	queue  queue
	nodes  map[key]*node
	bytes  int64 // of manifests
	active int   // workers that do something
	err    error // why the walk ends early
}

func newWalk(r *run) *walk {
	w := &walk{run: r, nodes: map[key]*node{}}
	w.wake = sync.NewCond(&w.mu)
	return w
}

// copy brings everything below the root to the destination, and returns the
// root, which is not pushed: that is for the tag to do.
func (w *walk) copy(ctx context.Context, root digest.Digest) (registry.Manifest, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.root = w.add(registry.Descriptor{Digest: root}, false, 0)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() { w.work(ctx, cancel) })
	}
	group.Wait()
	if w.err != nil {
		for _, n := range w.nodes {
			n.meter.abandon()
		}
	}
	return w.root.manifest, w.err
}

// work does what is ready until nothing is left or something failed.
func (w *walk) work(ctx context.Context, cancel context.CancelFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for w.err == nil && len(w.queue) == 0 && w.active > 0 {
			w.wake.Wait()
		}
		if w.err != nil || len(w.queue) == 0 {
			w.wake.Broadcast()
			return
		}
		n := heap.Pop(&w.queue).(*node)
		w.active++
		w.mu.Unlock()
		err := w.step(ctx, n)
		w.mu.Lock()
		w.active--
		if err != nil && w.err == nil {
			w.err = err // the first; the others are of cancelling
			cancel()
		}
		w.wake.Broadcast()
	}
}

// step does the next thing for a node: bring a blob, fetch a manifest, or push
// one whose children are there.
func (w *walk) step(ctx context.Context, n *node) error {
	if n.blob {
		if err := w.run.copyBlob(ctx, n); err != nil {
			return err
		}
		w.arrived(n)
		return nil
	}
	if !n.fetched {
		if ready, err := w.fetch(ctx, n); !ready {
			return err
		}
	}
	if n == w.root {
		return nil
	}
	_, err := w.run.put(ctx, n.descriptor.Digest.String(), n.manifest, func(ctx context.Context) error { return w.heal(ctx, n) })
	if err == nil {
		w.arrived(n)
	}
	return err
}

// arrived tells the parents of a node that it is at the destination. Who has no
// child left to wait for is ready to be pushed.
func (w *walk) arrived(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, parent := range n.parents {
		if parent.missing--; parent.missing == 0 {
			heap.Push(&w.queue, parent)
		}
	}
	n.parents, n.done = nil, true
}

// fetch reads a manifest and queues what it names. It returns true where the
// node can be pushed at once.
func (w *walk) fetch(ctx context.Context, n *node) (bool, error) {
	m, err := w.run.read(ctx, n.descriptor.Digest)
	if err != nil {
		if w.isBlob(ctx, n, err) {
			w.instead(n)
			return false, nil
		}
		return false, registry.OnSide(err, registry.Source)
	}
	contents, err := w.check(n, m)
	if err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bytes += int64(len(m.Content)) - n.foretold(); w.bytes > maxManifestBytes {
		return false, w.tooManyBytes()
	}
	n.manifest, n.fetched = m, true
	for _, d := range contents.Blobs() {
		if err := w.name(n, d, true); err != nil {
			return false, err
		}
	}
	for _, d := range contents.Manifests {
		if err := w.name(n, d, isBlobType(d.MediaType)); err != nil {
			return false, err
		}
	}
	return n.missing == 0, nil
}

// read is a manifest of the source.
func (r *run) read(ctx context.Context, d digest.Digest) (registry.Manifest, error) {
	if d == r.known.Digest {
		return r.known, nil
	}
	return r.job.Source.GetManifest(ctx, d.String())
}

// check holds what came against what named it, and reads it.
func (w *walk) check(n *node, m registry.Manifest) (registry.Contents, error) {
	refuse := func(e registry.Error) (registry.Contents, error) {
		e.Side, e.Op, e.Repository, e.Reference = registry.Source, "read the manifest", w.run.job.Source.Name(), m.Digest.String()
		return registry.Contents{}, &e
	}
	if want := n.descriptor.MediaType; want != "" && !strings.EqualFold(want, m.MediaType) {
		return refuse(registry.Error{Kind: registry.ErrInvalidManifest,
			Message: fmt.Sprintf("the index says that it is %q and the registry that it is %q", registry.Clean(want), registry.Clean(m.MediaType))})
	}
	// A schema 1 manifest is signed anew each time and has no size of its own.
	if want := n.descriptor.Size; n != w.root && want != int64(len(m.Content)) && !registry.IsSchema1(m.MediaType) {
		return refuse(registry.Error{Kind: registry.ErrMismatch, Message: fmt.Sprintf("it has %d bytes and the index says %d", len(m.Content), want)})
	}
	if len(m.Content) >= largeManifest {
		w.run.copier.large.Lock()
		defer w.run.copier.large.Unlock()
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
func (w *walk) isBlob(ctx context.Context, n *node, err error) bool {
	refusal, ok := errors.AsType[*registry.Error](err)
	if n == w.root || registry.IsManifest(n.descriptor.MediaType) || !ok || refusal.Status == 0 {
		return false
	}
	_, err = w.run.job.Source.StatBlob(ctx, n.descriptor.Digest)
	return err == nil
}

// instead makes a blob of a node that turned out to be no manifest.
func (w *walk) instead(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n.blob, n.meter = true, w.run.copier.progress.meter(n.size)
	heap.Push(&w.queue, n)
}
