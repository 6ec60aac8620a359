package copier

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// reupload uploads everything below a node that the destination claimed to have, although
// it does not. It does not repeat the upload of blobs that this copy has uploaded.
func (w *graphWalk) reupload(ctx context.Context, n *node) error {
	select {
	case w.reuploading <- struct{}{}:
		defer func() { <-w.reuploading }()
	case <-ctx.Done():
		return w.op.readInterrupted(n, context.Cause(ctx))
	}
	w.op.copier.log.DebugContext(ctx, "destination reported missing content; uploading it again",
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

// descendants returns the blobs and manifests below a node without duplicates. Each manifest
// follows the manifests that it references.
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
