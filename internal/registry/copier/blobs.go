package copier

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// copyBlob ensures that the destination has a blob. It uploads the blob only if another
// copy has not uploaded it and the destination neither has it nor can mount it.
func (r *copyOp) copyBlob(ctx context.Context, n *node) error {
	began := time.Now()
	source, destination := r.job.Source, r.job.Destination
	if err := r.resolveSize(ctx, n); err != nil {
		return err
	}
	from := ""
	if source.Host() == destination.Host() {
		from = source.Name()
	}
	lease, err := r.copier.blobs.lease(ctx, blobRequest{blobKey: r.blobKey(n), name: destination.Name(), source: source.Host(), copy: r.name, from: from})
	if err != nil {
		return r.blobError(n, err)
	}
	if lease == nil { // another copy uploaded it
		r.recordBlob(ctx, n, registry.AlreadyExists, began)
		return nil
	}
	outcome, err := destination.PutBlob(ctx, n.sizedDescriptor(), registry.Content{From: lease.from, Prefetch: lease.from == "" && r.probablyMissing(), Open: lease.countReads(r.opener(n)), Sending: &lease.sending})
	lease.end(err == nil)
	switch {
	case err == nil:
		r.recordBlob(ctx, n, outcome, began)
	case registry.IsNonDistributable(n.descriptor) && isSourceMissing(err):
		// The source is not required to have it.
		n.meter.abandon()
		r.copier.log.DebugContext(ctx, "skipping non-distributable layer that the source does not have", "digest", n.descriptor.Digest, "media_type", r.redact(n.descriptor.MediaType))
	default:
		return r.sourceIncomplete(r.blobError(n, err))
	}
	return nil
}

// blobKey identifies a blob at the destination's host.
func (r *copyOp) blobKey(n *node) blobKey {
	return blobKey{r.job.Destination.Host(), n.descriptor.Digest}
}

// isSourceMissing reports whether err means that content does not exist at the source.
func isSourceMissing(err error) bool {
	e, ok := errors.AsType[*registry.Error](err)
	return ok && e.Side == registry.Source && errors.Is(err, registry.ErrNotFound)
}

// probablyMissing reports whether the destination probably lacks the remaining blobs: it
// has none of the job's tags, and none of the blobs so far.
func (r *copyOp) probablyMissing() bool { return r.fresh && !r.stats.anyPresent() }

// forceBlob uploads a blob even if the destination claims to have it.
func (r *copyOp) forceBlob(ctx context.Context, n *node) error {
	began := time.Now()
	destination := r.job.Destination
	if err := r.resolveSize(ctx, n); err != nil {
		return err
	}
	r.copier.blobs.set(r.blobKey(n), destination.Name(), false)
	outcome, err := destination.PutBlob(ctx, n.sizedDescriptor(), registry.Content{Force: true, Open: r.opener(n)})
	if err != nil {
		return r.sourceIncomplete(r.blobError(n, err))
	}
	r.copier.blobs.set(r.blobKey(n), destination.Name(), true)
	if n.outcome != "" {
		r.stats.addBlobs(n.outcome, n.size, -1) // the earlier outcome was wrong
	}
	r.recordBlob(ctx, n, outcome, began)
	return nil
}

// resolveSize asks the source for the size of a blob if its descriptor has none, as in a
// schema 1 manifest.
func (r *copyOp) resolveSize(ctx context.Context, n *node) error {
	if n.size != registry.SizeUnknown {
		return nil
	}
	found, err := r.job.Source.StatBlob(ctx, n.descriptor.Digest)
	if err != nil {
		return r.sourceIncomplete(registry.WithSide(err, registry.Source))
	}
	n.size = found.Size
	if e, wrong := errors.AsType[*registry.Error](registry.ValidateDescriptor(n.sizedDescriptor())); wrong {
		e.Side, e.Repository = registry.Source, r.job.Source.Name()
		return e
	}
	n.meter.expect(n.size)
	return nil
}

// sizedDescriptor returns the descriptor of a blob with the size from resolveSize.
func (n *node) sizedDescriptor() registry.Descriptor {
	d := n.descriptor
	d.Size = n.size
	return d
}

// recordBlob records the outcome for a blob in the statistics, the progress and the log.
func (r *copyOp) recordBlob(ctx context.Context, n *node, outcome registry.Outcome, began time.Time) {
	n.outcome = outcome
	n.meter.done()
	r.stats.addBlobs(outcome, n.size, 1)
	r.copier.log.DebugContext(ctx, "blob "+string(outcome), "destination", r.job.Destination.Name(), "digest", n.descriptor.Digest,
		"media_type", r.redact(n.descriptor.MediaType), "size", n.size, "took", time.Since(began))
}

// blobError returns err as an error of the destination unless it already has a side.
// Errors of the source get their side when its content is opened or read.
func (r *copyOp) blobError(n *node, err error) error {
	if _, ok := errors.AsType[*registry.Error](err); !ok {
		err = &registry.Error{Op: "upload the blob", Repository: r.job.Destination.Name(), Reference: n.descriptor.Digest.String(), Kind: registry.ErrUnavailable, Err: err}
	}
	if e, ok := errors.AsType[*registry.Error](err); ok && errors.Is(err, registry.ErrSourceSlow) {
		return &registry.Error{Side: registry.Source, Op: "read the blob", Repository: r.job.Source.Name(), Reference: n.descriptor.Digest.String(), Kind: registry.ErrUnavailable, Err: e.Err}
	}
	return registry.WithSide(err, registry.Destination)
}

// opener returns a function that opens the content of a blob: the inline data of its
// descriptor, which was verified when the manifest was parsed, or the blob at the source.
func (r *copyOp) opener(n *node) func(context.Context) (io.ReadCloser, error) {
	return func(ctx context.Context) (io.ReadCloser, error) {
		n.meter.restart()
		if n.descriptor.Data != nil {
			return n.meter.read(io.NopCloser(bytes.NewReader(n.descriptor.Data))), nil
		}
		content, err := r.job.Source.GetBlob(ctx, n.sizedDescriptor())
		if err != nil {
			return nil, registry.WithSide(err, registry.Source)
		}
		return n.meter.read(sourceReader{content}), nil
	}
}

// sourceReader adds the source as the side of read errors.
type sourceReader struct{ io.ReadCloser }

// Read implements io.Reader.
func (s sourceReader) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = registry.WithSide(err, registry.Source)
	}
	return n, err
}
