package copier

import (
	"container/heap"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// The bounds of a graph. Real indexes are two deep and have some hundred nodes.
const (
	maxDepth = 32
	maxNodes = 20_000
	// maxManifestBytes bounds the manifests of one graph together: they are
	// kept until the root is there.
	maxManifestBytes = 10 << 20
	// largeManifest is from where on manifests are read and parsed one at a time:
	// what they name can take many times their size while it is looked at.
	largeManifest = 256 << 10
	// keptManifests is how many bytes of manifests a walk keeps. Those beyond are
	// read again when they are pushed.
	keptManifests = 512 << 10
	// nodeBytes is about what a node takes, and freeBytes what a walk may keep
	// without a charge to the process's memory for manifests.
	nodeBytes = 512
	freeBytes = 1 << 20
)

// node is a manifest or blob of the graph, each digest once however often it is
// named.
type node struct {
	descriptor registry.Descriptor // as it was first named
	depth      int                 // below the root, where it was first named
	parents    []*node             // that wait for it
	done       bool                // it is at the destination
	present    bool                // it was there whole before: nothing of it is sent

	// Of a manifest.
	manifest registry.Manifest // once fetched; without its content if that is not kept
	bytes    int64             // of its content
	fetched  bool
	children []*node
	pending  int // what it waits for: that it is read, its children, and its subject

	// Of a blob.
	blob    bool
	meter   *meter
	size    int64            // also where the descriptor does not say it
	outcome registry.Outcome // "" where it was left where it is
}

// declaredSize is how large a manifest is by what names it, before it is fetched: no
// other size is accepted. What may be a blob is nothing yet.
func (n *node) declaredSize() int64 {
	if n.blob || !registry.IsManifest(n.descriptor.MediaType) {
		return 0
	}
	return n.descriptor.Size
}

// key tells nodes apart. What one manifest names as a blob another may name as
// a manifest, and a registry keeps the two apart.
type key struct {
	digest digest.Digest
	blob   bool
}

// addChild makes a child of a node out of a descriptor. Called with mu held.
func (w *graphWalk) addChild(parent *node, d registry.Descriptor, blob bool) error {
	if blob && w.skip(parent) && w.missing == nil {
		return nil
	}
	if registry.IsNonDistributable(d) && !w.op.job.IncludeNonDistributable {
		w.op.copier.log.Debug("layer left where it is: it must not be distributed", "digest", d.Digest, "media_type", w.op.redact(d.MediaType))
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
		return nil // named twice by one manifest, which is named in one go
	}
	parent.children = append(parent.children, n)
	if !n.done {
		n.parents = append(n.parents, parent)
		parent.pending++
	}
	return nil
}

// isBlobType says whether a media type is one of layers and configurations. An
// index may name those too: BuildKit keeps its cache like that.
func isBlobType(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageConfig, ocispec.MediaTypeEmptyJSON, "application/vnd.docker.container.image.v1+json", "application/vnd.buildkit.cacheconfig.v0":
		return true
	}
	return strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.") || strings.HasPrefix(mediaType, "application/vnd.docker.image.rootfs.")
}

// agree says whether two descriptors of one digest can both be right. A blob
// may be named by several media types: its bytes do not say which.
func compatible(a, b registry.Descriptor, blob bool) bool {
	if a.Size != b.Size && a.Size != registry.SizeUnknown && b.Size != registry.SizeUnknown {
		return false
	}
	return blob || a.MediaType == b.MediaType
}

// inlineBytes is about what a descriptor takes beside what nodeBytes covers.
func inlineBytes(d registry.Descriptor) int64 {
	n := int64(len(d.Data))
	for _, url := range d.URLs {
		n += int64(len(url)) + 16
	}
	return n
}

// addNode puts a new node into the graph and its first step into the queue.
func (w *graphWalk) addNode(d registry.Descriptor, blob bool, depth int) *node {
	d.Annotations, d.Platform = nil, nil // which nobody asks for, and may be many
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

func (w *graphWalk) tooManyBytes() error {
	return w.limit("its manifests together are larger than %d MiB", maxManifestBytes>>20)
}

func (w *graphWalk) limit(format string, args ...any) error {
	return &registry.Error{Side: registry.Source, Op: "walk the image", Repository: w.op.job.Source.Name(), Reference: w.op.digest.String(),
		Kind: registry.ErrLimit, Message: fmt.Sprintf(format, args...)}
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
