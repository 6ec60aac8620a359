package copier

import (
	"context"
	"slices"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// open reads a manifest and queues its children. If other copies use the memory that the
// walk needs to retain them, open drops the manifest, waits, and reads it again.
func (w *graphWalk) open(ctx context.Context, n *node) error {
	for {
		needs, err := w.tryOpen(ctx, n)
		if err != nil || needs == 0 {
			return err
		}
		// Leave room for manifests that other workers open in the meantime.
		if err := w.op.memory.Grow(ctx, needs+largeManifest); err != nil {
			return w.op.readInterrupted(n, err)
		}
	}
}

// tryOpen is like open but does not wait for memory. It returns the number of bytes that
// the walk must reserve first, or 0 if the manifest was opened.
func (w *graphWalk) tryOpen(ctx context.Context, n *node) (needs int64, err error) {
	charge := w.op.copier.memory.Charge(w.op.job.memoryKey(), w.op.name)
	defer charge.Release()
	if size := n.descriptor.Size; size >= largeManifest {
		if err := charge.Grow(ctx, size); err != nil {
			return 0, w.op.readInterrupted(n, err)
		}
	}
	m, err := w.read(registry.WithCharge(ctx, charge), n)
	if err != nil {
		if err = registry.WithSide(err, registry.Source); n != w.root {
			err = w.op.sourceIncomplete(err)
		}
		return 0, err
	}
	if size := int64(len(m.Content)); size >= largeManifest {
		if err := charge.Grow(ctx, size); err != nil {
			return 0, w.op.readInterrupted(n, err)
		}
	}
	contents, err := w.validateManifest(n, m)
	if err != nil {
		return 0, err
	}
	return w.addChildren(n, m, contents)
}

// withContent calls do with the manifest of a node. It reads the content again if the walk
// did not retain it. do must not wait for another manifest, because the memory of this one
// is charged until do returns.
func (w *graphWalk) withContent(ctx context.Context, n *node, do func(registry.Manifest) error) error {
	if n.manifest.Content != nil {
		return do(n.manifest)
	}
	charge := w.op.copier.memory.Charge(w.op.job.memoryKey(), w.op.name)
	defer charge.Release()
	if n.bytes >= largeManifest {
		if err := charge.Grow(ctx, n.bytes); err != nil {
			return w.op.readInterrupted(n, err)
		}
	}
	m, err := w.op.job.Source.GetManifest(registry.WithCharge(ctx, charge), n.manifest.Digest.String())
	if err != nil {
		return w.op.sourceIncomplete(registry.WithSide(err, registry.Source))
	}
	charge.Shrink(n.bytes) // it is not parsed a second time
	return do(m)
}

// addChildren queues the blobs and manifests that a manifest references. If the walk must
// reserve memory first, addChildren queues nothing and returns the number of bytes.
func (w *graphWalk) addChildren(n *node, m registry.Manifest, contents registry.Contents) (needs int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	blobs := contents.Blobs()
	if w.bytes+int64(len(m.Content))-n.declaredSize() > maxManifestBytes {
		return 0, w.tooManyBytes()
	}
	needs = w.needs(len(blobs) + len(contents.Manifests))
	for _, d := range slices.Concat(blobs, contents.Manifests) {
		needs += inlineBytes(d)
	}
	if w.retains(n, m) {
		needs += int64(len(m.Content))
	}
	if !w.op.memory.TryGrow(needs) {
		return needs, nil
	}
	w.bytes += int64(len(m.Content)) - n.declaredSize()
	w.recordManifest(n, m)
	for _, d := range blobs {
		if err := w.addChild(n, d, true); err != nil {
			return 0, err
		}
	}
	for _, d := range contents.Manifests {
		if err := w.addChild(n, d, isBlobType(d.MediaType)); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// needs returns the number of bytes that the walk has to reserve for what it retains and for
// additional nodes. It can be negative, because freeBytes need no reservation. The caller
// must hold mu.
func (w *graphWalk) needs(additional int) int64 {
	needs := w.retained + w.inline + nodeBytes*int64(len(w.nodes)+additional) - freeBytes
	if w.search != nil {
		needs += w.search.retained.Load()
	}
	return needs
}

// retains reports whether the walk retains the content of a manifest that was just read. It
// retains that of the root, and of others up to maxRetained. The caller must hold mu.
func (w *graphWalk) retains(n *node, m registry.Manifest) bool {
	return n.manifest.Content == nil && (n == w.root || w.retained+int64(len(m.Content)) <= maxRetained)
}

// recordManifest records the manifest of a node, with its content if the walk or the search
// for referrers retains it. The caller must hold mu.
func (w *graphWalk) recordManifest(n *node, m registry.Manifest) {
	n.bytes, n.fetched = int64(len(m.Content)), true
	if w.retains(n, m) {
		w.retained += n.bytes
	} else if n.manifest.Content == nil {
		m.Content = nil
	}
	n.manifest = m
}

// read returns a manifest of the source. It sends no request for a root that resolving the
// source has read, or for a referrer whose content the search retained.
func (w *graphWalk) read(ctx context.Context, n *node) (registry.Manifest, error) {
	switch d := n.descriptor.Digest; d {
	case n.manifest.Digest:
		return n.manifest, nil
	case w.op.rootManifest.Digest:
		return w.op.rootManifest, nil
	default:
		return w.op.job.Source.GetManifest(ctx, d.String())
	}
}
