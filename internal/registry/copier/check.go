package copier

import (
	"context"
	"errors"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Check walks what is below some manifests of a repository and returns the
// digests of what is missing there or is not what its digest says: manifests are
// read, blobs are asked for by HEAD. Layers that must not be distributed are not
// asked for. The error is the repository's, where it is not known whether
// something is missing.
func (c *Copier) Check(ctx context.Context, at registry.Repository, manifests ...digest.Digest) ([]digest.Digest, error) {
	r := &run{copier: c, job: Job{Source: at, Destination: at}, tally: &tally{}, digest: manifests[0]}
	w := newWalk(r)
	w.looking, w.missing = true, &missing{}
	for _, d := range manifests[1:] {
		w.add(rootOf(d), false, 0)
	}
	_, err := w.copy(ctx, manifests[0], false)
	if r.many != nil {
		defer r.many()
	}
	if e, ok := errors.AsType[*registry.Error](r.told(ctx, err)); ok {
		told := *e
		told.Side = registry.Destination
		return nil, &told
	}
	slices.Sort(w.missing.digests)
	return w.missing.digests, err
}

// missing is what a check found to be missing. The walk's lock guards it.
type missing struct{ digests []digest.Digest }

// checkBlob asks for a blob.
func (w *walk) checkBlob(ctx context.Context, n *node) error {
	found, err := w.run.job.Source.StatBlob(ctx, n.descriptor.Digest)
	switch {
	case errors.Is(err, registry.ErrNotFound), err == nil && n.size != registry.SizeUnknown && found.Size != n.size:
		w.lacks(n)
		return nil
	}
	return err
}

// lacks notes that something is missing.
func (w *walk) lacks(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.missing.digests = append(w.missing.digests, n.descriptor.Digest)
}

// broken says, in a check, that a manifest cannot be had because it is missing or
// damaged, and notes it.
func (w *walk) broken(n *node, err error) bool {
	if w.missing == nil || !errors.Is(err, registry.ErrNotFound) && !errors.Is(err, registry.ErrMismatch) && !errors.Is(err, registry.ErrMissingContent) {
		return false
	}
	w.lacks(n)
	return true
}
