package copier

import (
	"context"
	"slices"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// open reads a manifest and queues what it names. If the memory for what the walk
// keeps of it is in use by other copies, it waits without the manifest, and reads it
// again.
func (w *graphWalk) open(ctx context.Context, n *node) error {
	for {
		needs, err := w.tryOpen(ctx, n)
		if err != nil || needs == 0 {
			return err
		}
		// With room for the manifests that other workers open meanwhile.
		if err := w.op.memory.Grow(ctx, needs+largeManifest); err != nil {
			return w.op.readInterrupted(n, err)
		}
	}
}

// tryOpen is open without the wait for memory: it returns how many bytes the walk has
// to reserve for the manifest, 0 if it was opened.
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

// withContent calls do with the manifest of a node, whose content is read again if
// it was not kept. do must not wait for another manifest.
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
	charge.Shrink(n.bytes) // it is not parsed again
	return do(m)
}

// addChildren queues what a manifest names, or returns how many bytes the walk has to
// reserve before.
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
	if w.keeps(n, m) {
		needs += int64(len(m.Content))
	}
	if !w.op.memory.TryGrow(needs) {
		return needs, nil
	}
	w.bytes += int64(len(m.Content)) - n.declaredSize()
	w.keepContent(n, m)
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

// needs returns how many bytes the walk keeps, or would keep with more nodes, beyond
// those that need no reservation. Called with mu held.
func (w *graphWalk) needs(more int) int64 {
	needs := w.kept + w.inline + nodeBytes*int64(len(w.nodes)+more) - freeBytes
	if w.search != nil {
		needs += w.search.retained.Load()
	}
	return needs
}

// keeps reports whether the walk keeps the content of a manifest that was read: that
// of the root, or as long as the walk keeps little. Called with mu held.
func (w *graphWalk) keeps(n *node, m registry.Manifest) bool {
	return n.manifest.Content == nil && (n == w.root || w.kept+int64(len(m.Content)) <= keptManifests)
}

// keepContent records the manifest of a node, with its content if the walk keeps it or
// the search for referrers did. Called with mu held.
func (w *graphWalk) keepContent(n *node, m registry.Manifest) {
	n.bytes, n.fetched = int64(len(m.Content)), true
	if w.keeps(n, m) {
		w.kept += n.bytes
	} else if n.manifest.Content == nil {
		m.Content = nil
	}
	n.manifest = m
}

// read is a manifest of the source. The root may be known already, and a referrer
// was read to see what it refers to.
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
