package copier

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// copyBlob makes sure that a blob is at the destination, by the cheapest way
// there is.
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
		// Nobody promised that the source holds it.
		n.meter.abandon()
		r.copier.log.DebugContext(ctx, "layer left where it is: the source does not have it", "digest", n.descriptor.Digest, "media_type", r.redact(n.descriptor.MediaType))
	default:
		return r.sourceIncomplete(r.blobError(n, err))
	}
	return nil
}

// blobKey identifies a blob at the destination's host.
func (r *copyOp) blobKey(n *node) blobKey {
	return blobKey{r.job.Destination.Host(), n.descriptor.Digest}
}

func isSourceMissing(err error) bool {
	e, ok := errors.AsType[*registry.Error](err)
	return ok && e.Side == registry.Source && errors.Is(err, registry.ErrNotFound)
}

// probablyMissing says whether blobs are probably not at the destination: no tag
// was, and no blob so far.
func (r *copyOp) probablyMissing() bool { return r.fresh && !r.stats.anyPresent() }

// sendBlob sends a blob whatever the destination says of it.
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
		r.stats.addBlobs(n.outcome, n.size, -1) // that was not so
	}
	r.recordBlob(ctx, n, outcome, began)
	return nil
}

// measure finds out how large a blob is that a schema 1 manifest names.
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

// sized is the descriptor of a blob with the size that was found out.
func (n *node) sizedDescriptor() registry.Descriptor {
	d := n.descriptor
	d.Size = n.size
	return d
}

// recordBlob counts a blob and tells about it.
func (r *copyOp) recordBlob(ctx context.Context, n *node, outcome registry.Outcome, began time.Time) {
	n.outcome = outcome
	n.meter.done()
	r.stats.addBlobs(outcome, n.size, 1)
	r.copier.log.DebugContext(ctx, "blob "+string(outcome), "destination", r.job.Destination.Name(), "digest", n.descriptor.Digest,
		"media_type", r.redact(n.descriptor.MediaType), "size", n.size, "took", time.Since(began))
}

// blobError makes an error of the destination's out of one that has no side
// yet: those of the source got theirs where its bytes are read.
func (r *copyOp) blobError(n *node, err error) error {
	if _, ok := errors.AsType[*registry.Error](err); !ok {
		err = &registry.Error{Op: "upload the blob", Repository: r.job.Destination.Name(), Reference: n.descriptor.Digest.String(), Kind: registry.ErrUnavailable, Err: err}
	}
	if e, ok := errors.AsType[*registry.Error](err); ok && errors.Is(err, registry.ErrSourceSlow) {
		return &registry.Error{Side: registry.Source, Op: "read the blob", Repository: r.job.Source.Name(), Reference: n.descriptor.Digest.String(), Kind: registry.ErrUnavailable, Err: e.Err}
	}
	return registry.WithSide(err, registry.Destination)
}

// opener gives a blob's bytes: those inside its descriptor, which were verified
// when it was read, or the source's.
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

// sourceReader marks what goes wrong in it as the source's.
type sourceReader struct{ io.ReadCloser }

func (s sourceReader) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = registry.WithSide(err, registry.Source)
	}
	return n, err
}
