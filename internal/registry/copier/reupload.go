package copier

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// reupload brings everything below a node that the destination only said it had: it
// believes no such answer any more. What was sent once is not sent again.
func (w *graphWalk) reupload(ctx context.Context, n *node) error {
	select {
	case w.reuploading <- struct{}{}:
		defer func() { <-w.reuploading }()
	case <-ctx.Done():
		return w.op.readInterrupted(n, context.Cause(ctx))
	}
	w.op.copier.log.DebugContext(ctx, "the destination misses content that it said it had; sending it",
		"destination", w.op.job.Destination.Name(), "manifest", n.manifest.Digest)
	blobs, manifests := descendants(n)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, blob := range blobs {
		if blob.outcome == registry.AlreadyExists || blob.outcome == registry.Mounted {
			group.Go(func() error { return w.op.forceBlob(groupCtx, blob) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, manifest := range manifests {
		err := w.withContent(ctx, manifest, func(m registry.Manifest) error { return w.op.push(ctx, m.Digest.String(), m) })
		if err != nil {
			return registry.WithSide(err, registry.Destination)
		}
	}
	return nil
}

// below are the blobs and manifests below a node, each once and each manifest
// after all that it names.
func descendants(n *node) (blobs, manifests []*node) {
	seen := map[*node]bool{}
	var visit func(n *node)
	visit = func(n *node) {
		for _, child := range n.children {
			switch {
			case seen[child]:
				continue
			case child.blob:
				blobs = append(blobs, child)
			default:
				visit(child)
				manifests = append(manifests, child)
			}
			seen[child] = true
		}
	}
	visit(n)
	return blobs, manifests
}
