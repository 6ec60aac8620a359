package copier

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	// workers is how many things one copy does at a time. What a host bears is
	// up to the host's limits; this only has to be more.
	workers = 32

	// The bounds of a graph. Real indexes are two deep and have some hundred
	// nodes.
	maxDepth = 32
	maxNodes = 20_000
	// maxManifestBytes bounds the manifests of one graph together: they are
	// kept until the root is there.
	maxManifestBytes = 32 << 20
)

// node is a manifest or blob of the graph, each digest once however often it is
// named.
type node struct {
	descriptor registry.Descriptor
	blob       bool
	depth      int // below the root, where it was first named

	manifest registry.Manifest // once fetched
	fetched  bool
	children []*node
	missing  int     // children that are not at the destination yet
	parents  []*node // that wait for it
	done     bool    // it is at the destination
	outcome  registry.Outcome
}

// key tells nodes apart. What one manifest names as a blob another may name as
// a manifest, and a registry keeps the two apart.
type key struct {
	digest digest.Digest
	blob   bool
}

// walk copies the graph below a root with one queue of work for all of it: the
// blobs of one child travel while its siblings' manifests are still fetched,
// and a manifest is pushed as soon as all that it names is there.
type walk struct {
	run *run

	mu     sync.Mutex
	wake   *sync.Cond
	queue  queue
	nodes  map[key]*node
	bytes  int64
	active int
	err    error
	root   *node
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
	w.root = w.add(nil, registry.Descriptor{Digest: root}, false)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() { w.work(ctx, cancel) })
	}
	group.Wait()
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
	switch {
	case n.blob:
		if err := w.run.copyBlob(ctx, n); err != nil {
			return err
		}
	case !n.fetched:
		done, err := w.fetch(ctx, n)
		if err != nil || !done {
			return err
		}
		fallthrough
	default:
		if n == w.root {
			return nil
		}
		if err := w.pushChild(ctx, n); err != nil {
			return err
		}
	}
	w.arrived(n)
	return nil
}

// arrived tells the parents of a node that it is at the destination. Who has no
// child left to wait for is ready to be pushed.
func (w *walk) arrived(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, parent := range n.parents {
		if parent.missing--; parent.missing == 0 && parent.fetched {
			heap.Push(&w.queue, parent)
		}
	}
	n.parents, n.done = nil, true
}

// fetch reads a manifest and queues what it names. It returns true where the
// node can be pushed at once.
func (w *walk) fetch(ctx context.Context, n *node) (bool, error) {
	m, err := w.run.job.Source.GetManifest(ctx, n.descriptor.Digest.String())
	if errors.Is(err, registry.ErrNotFound) && n != w.root && !registry.IsManifest(n.descriptor.MediaType) {
		// Of a type that nobody knows: no manifest, so it is tried as a blob.
		return false, w.instead(n)
	}
	if err != nil {
		return false, registry.OnSide(err, registry.Source)
	}
	contents, err := w.check(n, m)
	if err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bytes += int64(len(m.Content)); w.bytes > maxManifestBytes {
		return false, w.limit("its manifests together are larger than %d MiB", maxManifestBytes>>20)
	}
	n.manifest, n.fetched = m, true
	for _, d := range contents.Blobs() {
		if err := w.name(n, d, true); err != nil {
			return false, err
		}
	}
	for _, d := range contents.Manifests {
		if err := w.name(n, d, false); err != nil {
			return false, err
		}
	}
	return n.missing == 0, nil
}

// check holds what came against what named it, and reads it.
func (w *walk) check(n *node, m registry.Manifest) (registry.Contents, error) {
	refuse := func(kind error, why string) (registry.Contents, error) {
		return registry.Contents{}, &registry.Error{Side: registry.Source, Op: "read the manifest", Repository: w.run.job.Source.Name(),
			Reference: m.Digest.String(), Kind: kind, Message: why}
	}
	if want := n.descriptor.MediaType; want != "" && want != m.MediaType {
		return refuse(registry.ErrInvalidManifest, fmt.Sprintf("the index says that it is %q and the registry that it is %q", registry.Clean(want), registry.Clean(m.MediaType)))
	}
	if want := n.descriptor.Size; n.depth > 0 && want != int64(len(m.Content)) && !registry.IsSchema1(m.MediaType) {
		return refuse(registry.ErrMismatch, fmt.Sprintf("it has %d bytes and the index says %d", len(m.Content), want))
	}
	contents, err := m.Parse()
	var e *registry.Error
	if errors.As(err, &e) {
		named := *e
		named.Side, named.Repository, named.Op, named.Reference = registry.Source, w.run.job.Source.Name(), "read the manifest", m.Digest.String()
		return registry.Contents{}, &named
	}
	return contents, err
}

// name makes a child of a node out of a descriptor. Called with mu held.
func (w *walk) name(parent *node, d registry.Descriptor, blob bool) error {
	if registry.IsForeign(d) && !w.run.job.Foreign {
		w.run.copier.log.Debug("layer left where it is: it must not be distributed", "digest", d.Digest, "media_type", d.MediaType)
		return nil
	}
	n, known := w.nodes[key{d.Digest, blob}]
	if !known {
		if parent.depth == maxDepth {
			return w.limit("its indexes are nested deeper than %d", maxDepth)
		}
		if len(w.nodes) == maxNodes {
			return w.limit("it has more than %d manifests and blobs", maxNodes)
		}
		n = w.add(parent, d, blob)
	}
	if last := len(n.parents) - 1; last >= 0 && n.parents[last] == parent {
		return nil // named twice by one manifest, which is named in one go
	}
	parent.children = append(parent.children, n)
	if !n.done {
		n.parents = append(n.parents, parent)
		parent.missing++
	}
	return nil
}

// add puts a new node into the graph and its first step into the queue.
func (w *walk) add(parent *node, d registry.Descriptor, blob bool) *node {
	n := &node{descriptor: d, blob: blob}
	if parent != nil {
		n.depth = parent.depth + 1
	}
	w.nodes[key{d.Digest, blob}] = n
	if blob {
		w.run.copier.progress.expect(d.Size)
	}
	heap.Push(&w.queue, n)
	return n
}

// instead makes a blob of a node that turned out to be no manifest.
func (w *walk) instead(n *node) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	n.blob = true
	w.run.copier.progress.expect(n.descriptor.Size)
	heap.Push(&w.queue, n)
	return nil
}

func (w *walk) limit(format string, args ...any) error {
	return &registry.Error{Side: registry.Source, Op: "walk the image", Repository: w.run.job.Source.Name(), Reference: w.run.digest.String(),
		Kind: registry.ErrLimit, Message: fmt.Sprintf(format, args...)}
}

// pushChild puts a manifest under its digest once all that it names is there.
// Where the registry misses some of that, it is brought and the manifest put
// once more.
func (w *walk) pushChild(ctx context.Context, n *node) error {
	name := n.descriptor.Digest.String()
	err := w.run.push(ctx, name, n.manifest)
	if errors.Is(err, registry.ErrMissingContent) {
		if err := w.heal(ctx, n); err != nil {
			return err
		}
		err = w.run.push(ctx, name, n.manifest)
	}
	return registry.OnSide(err, registry.Destination)
}

// heal brings everything below a node that the destination only said it had: it
// believes no such answer any more.
func (w *walk) heal(ctx context.Context, n *node) error {
	w.run.copier.log.DebugContext(ctx, "the destination misses content that it said it had; sending it",
		"destination", w.run.job.Destination.Name(), "manifest", n.descriptor.Digest)
	var blobs, manifests []*node
	seen := map[*node]bool{}
	var below func(n *node)
	below = func(n *node) {
		for _, child := range n.children {
			if seen[child] {
				continue
			}
			seen[child] = true
			if child.blob {
				blobs = append(blobs, child)
				continue
			}
			below(child)
			manifests = append(manifests, child) // after all that it names
		}
	}
	below(n)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, blob := range blobs {
		if blob.outcome != registry.Copied {
			group.Go(func() error { return w.run.sendBlob(groupCtx, blob) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, manifest := range manifests {
		if err := w.run.push(ctx, manifest.descriptor.Digest.String(), manifest.manifest); err != nil {
			return registry.OnSide(err, registry.Destination)
		}
	}
	return nil
}

// queue is a heap of what can be done now: manifests first, because others wait
// for what they name or for them, then blobs, the largest first, so that no
// large one is left to travel alone at the end.
type queue []*node

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if q[i].blob != q[j].blob {
		return !q[i].blob
	}
	return q[i].descriptor.Size > q[j].descriptor.Size
}

func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is for container/heap.
func (q *queue) Push(n any) { *q = append(*q, n.(*node)) }

// Pop is for container/heap.
func (q *queue) Pop() any {
	last := len(*q) - 1
	n := (*q)[last]
	*q = (*q)[:last]
	return n
}
