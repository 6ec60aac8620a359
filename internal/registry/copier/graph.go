package copier

import (
	"container/heap"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Limits of a graph. Real indexes are two levels deep and have some hundred nodes.
const (
	maxDepth = 32
	maxNodes = 20_000
	// maxManifestBytes limits the total size of the manifests of one graph.
	maxManifestBytes = 10 << 20
	// largeManifest is the size from which a manifest is charged to the memory for
	// manifests while it is read and parsed: parsing can take many times its size.
	largeManifest = 256 << 10
	// maxRetained is how many bytes of manifests a walk retains. It always retains the
	// root, and reads manifests that it did not retain again to push them.
	maxRetained = 512 << 10
	// nodeBytes is the approximate memory of a node, and freeBytes is how much a walk may
	// retain without a reservation in the process's memory for manifests.
	nodeBytes = 512
	freeBytes = 1 << 20
)

// node is a manifest or blob of the graph. There is one node for each key, even if several
// manifests reference it.
type node struct {
	descriptor registry.Descriptor // from the first manifest that references it
	depth      int                 // below the root, of the first reference
	parents    []*node             // nodes that wait for it
	done       bool                // the walk is finished with it
	present    bool                // the destination had it and its children before: nothing of it is sent

	// Fields of a manifest.
	manifest registry.Manifest // after it was fetched; without content if that is not retained
	bytes    int64             // size of its content
	fetched  bool
	children []*node
	pending  int // number of events that it waits for: its read, and completion of its children and subject

	// Fields of a blob.
	blob    bool
	meter   *meter
	size    int64            // known before the upload even if the descriptor has none
	outcome registry.Outcome // "" if it is not processed or was skipped
}

// declaredSize returns the size of a manifest from its descriptor. It counts before the
// manifest is fetched, because another size is rejected. It is 0 for a node that is or
// may be a blob.
func (n *node) declaredSize() int64 {
	if n.blob || !registry.IsManifest(n.descriptor.MediaType) {
		return 0
	}
	return n.descriptor.Size
}

// key identifies a node. One manifest may reference a digest as a blob and another as a
// manifest; registries store the two separately.
type key struct {
	digest digest.Digest
	blob   bool
}

// addChild adds the node of a descriptor as a child of parent. The caller must hold mu.
func (w *graphWalk) addChild(parent *node, d registry.Descriptor, blob bool) error {
	if blob && w.skip(parent) && w.missing == nil {
		return nil
	}
	if registry.IsNonDistributable(d) && !w.op.job.IncludeNonDistributable {
		w.op.copier.log.Debug("skipping non-distributable layer", "digest", d.Digest, "media_type", w.op.redact(d.MediaType))
		return nil
	}
	n, known := w.nodes[key{d.Digest, blob}]
	switch {
	case known && !compatible(n.descriptor, d, blob):
		return &registry.Error{Side: registry.Source, Op: "read the manifest", Repository: w.op.job.Source.Name(), Reference: parent.descriptor.Digest.String(),
			Kind: registry.ErrInvalidManifest, Message: fmt.Sprintf("it names %s with another size or media type than another manifest of the image does", d.Digest)}
	case !known && parent.depth == maxDepth:
		return w.limit("its indexes are nested deeper than %d", maxDepth)
	case !known && len(w.nodes) == maxNodes:
		return w.limit("it has more than %d manifests and blobs", maxNodes)
	case !known:
		w.inline += inlineBytes(d)
		n = w.addNode(d, blob, parent.depth+1)
		n.present = parent.present
		if w.bytes += n.declaredSize(); w.bytes > maxManifestBytes {
			return w.tooManyBytes()
		}
	}
	if last := len(n.parents) - 1; last >= 0 && n.parents[last] == parent {
		return nil // referenced twice by the same manifest, whose children are added consecutively
	}
	parent.children = append(parent.children, n)
	if !n.done {
		n.parents = append(n.parents, parent)
		parent.pending++
	}
	return nil
}

// isBlobType reports whether a media type is that of a layer or config. An index may
// reference those too: BuildKit stores its cache this way.
func isBlobType(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageConfig, ocispec.MediaTypeEmptyJSON, "application/vnd.docker.container.image.v1+json", "application/vnd.buildkit.cacheconfig.v0":
		return true
	}
	return strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.") || strings.HasPrefix(mediaType, "application/vnd.docker.image.rootfs.")
}

// compatible reports whether two descriptors of one digest do not contradict each other.
// Descriptors of a blob may have different media types, because its content has none.
func compatible(a, b registry.Descriptor, blob bool) bool {
	if a.Size != b.Size && a.Size != registry.SizeUnknown && b.Size != registry.SizeUnknown {
		return false
	}
	return blob || a.MediaType == b.MediaType
}

// inlineBytes returns the approximate memory of a descriptor's inline data and URLs, which
// nodeBytes does not include.
func inlineBytes(d registry.Descriptor) int64 {
	n := int64(len(d.Data))
	for _, url := range d.URLs {
		n += int64(len(url)) + 16
	}
	return n
}

// addNode adds a node to the graph and queues its first step.
func (w *graphWalk) addNode(d registry.Descriptor, blob bool, depth int) *node {
	d.Annotations, d.Platform = nil, nil // unused, and may be large
	n := &node{descriptor: d, blob: blob, depth: depth, size: d.Size}
	w.nodes[key{d.Digest, blob}] = n
	if blob && !w.dryRun {
		n.meter = w.op.copier.progress.meter(d.Size)
	}
	if !blob {
		n.pending = 1 // until it is read
	}
	heap.Push(&w.queue, n)
	return n
}

// tooManyBytes returns the error for a graph that exceeds maxManifestBytes.
func (w *graphWalk) tooManyBytes() error {
	return w.limit("its manifests together are larger than %d MiB", maxManifestBytes>>20)
}

// limit returns an error of kind ErrLimit for the root.
func (w *graphWalk) limit(format string, args ...any) error {
	return &registry.Error{Side: registry.Source, Op: "walk the image", Repository: w.op.job.Source.Name(), Reference: w.op.digest.String(),
		Kind: registry.ErrLimit, Message: fmt.Sprintf(format, args...)}
}

// queue is a heap of the nodes that are ready for a step: manifests first, since they
// unblock other nodes, then blobs by descending size to avoid a long tail.
type queue []*node

// Len implements sort.Interface.
func (q queue) Len() int { return len(q) }

// Less implements sort.Interface.
func (q queue) Less(i, j int) bool {
	if q[i].blob != q[j].blob {
		return !q[i].blob
	}
	return q[i].descriptor.Size > q[j].descriptor.Size
}

// Swap implements sort.Interface.
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *queue) Push(n any) { *q = append(*q, n.(*node)) }

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	n := (*q)[last]
	*q = (*q)[:last]
	return n
}
