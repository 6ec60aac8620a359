package copier

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// blobTable knows, for everything in the process, which repositories of a host
// hold a blob and which are about to, so that a blob goes to a host once: who
// needs it in the same repository shares the upload, who needs it in another
// one waits for it and mounts it from there.
type blobTable struct {
	mu    sync.Mutex
	blobs map[blobKey]*whereabouts
}

type blobKey struct {
	host   string
	digest digest.Digest
}

type whereabouts struct {
	held map[string]bool          // repositories that hold it
	busy map[string]chan struct{} // repositories that are about to; closed when that ends
}

func newBlobTable() *blobTable { return &blobTable{blobs: map[blobKey]*whereabouts{}} }

// claim is the right to bring a blob to a repository.
type claim struct {
	table *blobTable
	at    *whereabouts
	name  string
	// from is a repository of the host that holds the blob, "" for none known.
	from string
}

// claim waits until the blob is in the repository, and returns nil, or until it
// is up to the caller to bring it there. Somebody else's failure makes it the
// caller's turn. The error is the context's.
func (t *blobTable) claim(ctx context.Context, host, name string, d digest.Digest) (*claim, error) {
	for {
		t.mu.Lock()
		at, ok := t.blobs[blobKey{host, d}]
		if !ok {
			at = &whereabouts{held: map[string]bool{}, busy: map[string]chan struct{}{}}
			t.blobs[blobKey{host, d}] = at
		}
		if at.held[name] {
			t.mu.Unlock()
			return nil, nil
		}
		wait := at.busy[name]
		if wait == nil && len(at.held) == 0 {
			for _, busy := range at.busy {
				wait = busy // to mount it from there when it has arrived
			}
		}
		if wait == nil {
			c := &claim{table: t, at: at, name: name}
			if len(at.held) > 0 {
				c.from = slices.Min(slices.Collect(maps.Keys(at.held)))
			}
			at.busy[name] = make(chan struct{})
			t.mu.Unlock()
			return c, nil
		}
		t.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// settle ends a claim and wakes who waits for it.
func (c *claim) settle(arrived bool) {
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	if arrived {
		c.at.held[c.name] = true
	}
	close(c.at.busy[c.name])
	delete(c.at.busy, c.name)
}

// forget makes the table believe no longer that a repository holds a blob.
func (t *blobTable) forget(host, name string, d digest.Digest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, ok := t.blobs[blobKey{host, d}]; ok {
		delete(at.held, name)
	}
}

// copyBlob makes sure that a blob is at the destination, by the cheapest way
// there is.
func (r *run) copyBlob(ctx context.Context, n *node) error {
	began := time.Now()
	source, destination := r.job.Source, r.job.Destination
	if source.Name() == destination.Name() {
		n.outcome = registry.Present
		r.arrived(ctx, n, began)
		return nil
	}
	if err := r.size(ctx, n); err != nil {
		return err
	}
	c, err := r.copier.blobs.claim(ctx, destination.Host(), destination.Name(), n.descriptor.Digest)
	if err != nil {
		return r.blobError(n, err)
	}
	if c == nil {
		n.outcome = registry.Present
		r.arrived(ctx, n, began)
		return nil
	}
	if c.from == "" && source.Host() == destination.Host() {
		c.from = source.Name()
	}
	n.outcome, err = destination.PutBlob(ctx, n.descriptor, registry.Content{From: c.from, Open: r.opener(n)})
	if r.job.Foreign && registry.IsForeign(n.descriptor) && errors.Is(err, registry.ErrNotFound) {
		c.settle(false)
		return nil // nobody promised that the source holds it
	}
	c.settle(err == nil)
	if err != nil {
		return r.blobError(n, err)
	}
	r.arrived(ctx, n, began)
	return nil
}

// sendBlob sends a blob whatever the destination says of it.
func (r *run) sendBlob(ctx context.Context, n *node) error {
	began := time.Now()
	destination := r.job.Destination
	r.copier.blobs.forget(destination.Host(), destination.Name(), n.descriptor.Digest)
	outcome, err := destination.PutBlob(ctx, n.descriptor, registry.Content{Distrust: true, Open: r.opener(n)})
	if err != nil {
		return r.blobError(n, err)
	}
	r.tally.took(n.outcome, n.descriptor.Size, -1)
	n.outcome = outcome
	r.arrived(ctx, n, began)
	return nil
}

// size finds out how large a blob is that a schema 1 manifest names.
func (r *run) size(ctx context.Context, n *node) error {
	if n.descriptor.Size != registry.SizeUnknown {
		return nil
	}
	found, err := r.job.Source.StatBlob(ctx, n.descriptor.Digest)
	if err != nil {
		return registry.OnSide(err, registry.Source)
	}
	n.descriptor.Size = found.Size
	r.copier.progress.expect(found.Size)
	return nil
}

// arrived counts a blob and tells about it.
func (r *run) arrived(ctx context.Context, n *node, began time.Time) {
	r.tally.took(n.outcome, n.descriptor.Size, 1)
	if n.outcome != registry.Copied {
		r.copier.progress.move(n.descriptor.Size)
	}
	r.copier.log.DebugContext(ctx, "blob "+string(n.outcome), "destination", r.job.Destination.Name(), "digest", n.descriptor.Digest,
		"media_type", n.descriptor.MediaType, "size", n.descriptor.Size, "took", time.Since(began))
}

// blobError makes an error of the destination's out of one that has no side
// yet: those of the source got theirs where its bytes are read.
func (r *run) blobError(n *node, err error) error {
	var e *registry.Error
	if !errors.As(err, &e) {
		err = &registry.Error{Op: "upload the blob", Repository: r.job.Destination.Name(), Reference: n.descriptor.Digest.String(), Kind: registry.ErrUnavailable, Err: err}
	}
	return registry.OnSide(err, registry.Destination)
}

// opener gives a blob's bytes: those inside its descriptor, which were verified
// when it was read, or the source's.
func (r *run) opener(n *node) func(context.Context) (io.ReadCloser, error) {
	return func(ctx context.Context) (io.ReadCloser, error) {
		if n.descriptor.Data != nil {
			return r.copier.progress.count(io.NopCloser(bytes.NewReader(n.descriptor.Data))), nil
		}
		content, err := r.job.Source.GetBlob(ctx, n.descriptor)
		if err != nil {
			return nil, registry.OnSide(err, registry.Source)
		}
		return r.copier.progress.count(sourceReader{content}), nil
	}
}

// sourceReader marks what goes wrong in it as the source's.
type sourceReader struct{ io.ReadCloser }

func (s sourceReader) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = registry.OnSide(err, registry.Source)
	}
	return n, err
}
