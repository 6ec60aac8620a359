package copier

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Check walks the graph below a manifest of a repository, and below its referrers. It
// returns the digests of content that is missing or does not match its digest. Check reads
// manifests, but requests blobs by HEAD. A referrer that clients cannot find is also
// missing. Non-distributable layers are not checked. If it is unknown whether something is
// missing, Check returns the error of the repository.
func (c *Copier) Check(ctx context.Context, repo registry.Repository, root digest.Digest, referrers []Referrer) ([]digest.Digest, error) {
	ctx, r, end := c.newCopyOp(ctx, Job{Source: repo, Destination: repo}, fmt.Sprintf("the check of %s@%s", repo.Name(), root))
	defer end()
	r.digest = root
	w := newGraphWalk(r)
	w.dryRun, w.missing = true, &missingContent{}
	seen := map[digest.Digest]bool{root: true}
	for _, f := range referrers {
		if d := f.Manifest.Digest; !seen[d] {
			seen[d] = true
			w.addNode(rootOf(d), false, 0)
		}
	}
	_, err := w.copy(ctx, root, false)
	if err == nil {
		err = w.checkReferrers(ctx, repo, referrers)
	}
	if e, ok := errors.AsType[*registry.Error](r.finalizeError(ctx, err)); ok {
		sideErr := *e
		sideErr.Side = registry.Destination
		return nil, &sideErr
	}
	slices.Sort(w.missing.digests)
	return slices.Compact(w.missing.digests), err
}

// checkReferrers records the referrers that clients cannot find, either by their tag or in
// the list of referrers of their subject.
func (w *graphWalk) checkReferrers(ctx context.Context, repo registry.Repository, referrers []Referrer) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	listed := map[digest.Digest][]Referrer{}
	for _, f := range referrers {
		if f.Tag == "" {
			listed[f.Subject] = append(listed[f.Subject], f)
			continue
		}
		group.Go(func() error {
			d, err := repo.Resolve(groupCtx, f.Tag)
			if errors.Is(err, registry.ErrNotFound) || err == nil && !registry.SameDigest(d.Digest, f.Manifest.Digest) {
				w.recordMissing(f.Manifest.Digest)
				return nil
			}
			return err
		})
	}
	for subject, all := range listed {
		group.Go(func() error {
			listing, err := repo.ListReferrers(groupCtx, subject)
			for _, f := range all {
				if err == nil && !containsReferrer(listing, f) {
					w.recordMissing(f.Manifest.Digest)
				}
			}
			return err
		})
	}
	return group.Wait()
}

// missingContent collects the digests that a check found to be missing. The walk's mu guards
// it.
type missingContent struct{ digests []digest.Digest }

// checkBlob records a blob as missing if it does not exist or has another size. Only an
// image layout also verifies its content.
func (w *graphWalk) checkBlob(ctx context.Context, n *node) error {
	found, err := w.op.job.Source.StatBlob(ctx, n.descriptor.Digest)
	switch {
	case errors.Is(err, registry.ErrNotFound), errors.Is(err, registry.ErrMismatch), err == nil && n.size != registry.SizeUnknown && found.Size != n.size:
		w.recordMissing(n.descriptor.Digest)
		return nil
	}
	return err
}

// recordMissing records that a digest is missing.
func (w *graphWalk) recordMissing(d digest.Digest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.missing.digests = append(w.missing.digests, d)
}

// recordUnreadable records a manifest as missing if the walk is a check and err means that
// the manifest is missing or damaged. It reports whether it did so.
func (w *graphWalk) recordUnreadable(n *node, err error) bool {
	if w.missing == nil || !errors.Is(err, registry.ErrNotFound) && !errors.Is(err, registry.ErrMismatch) && !errors.Is(err, registry.ErrMissingContent) {
		return false
	}
	w.recordMissing(n.descriptor.Digest)
	return true
}
