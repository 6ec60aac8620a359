package copier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// resolveTags concurrently resolves the reference at the source and the tags at the
// destination. It returns the current digest of each tag. The reference is not resolved again.
func (r *copyOp) resolveTags(ctx context.Context) (map[string]digest.Digest, error) {
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return registry.WithSide(r.resolveSource(groupCtx), registry.Source) })
	found := make([]registry.Descriptor, len(r.job.Tags))
	for i, tag := range r.job.Tags {
		group.Go(func() (err error) {
			found[i], err = r.resolveTag(groupCtx, tag)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	r.stats.setRoot(r.digest, "")
	current := map[string]digest.Digest{}
	for i, tag := range r.job.Tags {
		d, err := r.convertDigest(ctx, tag, found[i].Digest, r.digest)
		if err != nil {
			return nil, err
		}
		if current[tag] = d; d == r.digest {
			r.stats.setRoot(d, found[i].MediaType)
			r.stats.addTag(tag)
		}
	}
	return current, nil
}

// resolveSource sets the digest to copy, and resolves the reference if the job has no digest.
func (r *copyOp) resolveSource(ctx context.Context) (err error) {
	switch r.digest = r.job.Digest; {
	case len(r.job.Platforms) > 0:
		return r.selectPlatforms(ctx)
	case r.digest == "":
		r.digest, err = r.resolveReference(ctx)
	}
	return err
}

// resolveReference returns the digest of the reference at the source. Within one registry it
// reads the manifest instead of sending a HEAD request, which saves a round trip. For other
// registries, a GET request may count as a pull even if nothing needs to be copied. Docker Hub
// counts it, so it is always sent a HEAD request.
func (r *copyOp) resolveReference(ctx context.Context) (digest.Digest, error) {
	source := r.job.Source
	if source.Host() != r.job.Destination.Host() || source.Host() == registry.DockerHub {
		d, err := source.Resolve(ctx, r.job.Reference)
		return d.Digest, err
	}
	m, err := source.GetManifest(ctx, r.job.Reference)
	if r.memory.TryGrow(int64(len(m.Content)) - freeBytes) {
		r.rootManifest = m
	}
	return m.Digest, err
}

// currentTagDigest returns the digest of a tag of the destination, in the algorithm of want. It
// returns "" if the tag does not exist or may not be read; see resolveTag.
func (r *copyOp) currentTagDigest(ctx context.Context, tag string, want digest.Digest) (digest.Digest, error) {
	d, err := r.resolveTag(ctx, tag)
	if err != nil {
		return "", err
	}
	return r.convertDigest(ctx, tag, d.Digest, want)
}

// resolveTag returns the descriptor of a tag of the destination, or an empty one if the tag does
// not exist. If reading the tag is denied, that is an error only if MayReplace must decide
// about the tag. Otherwise, a write would report a lack of access.
func (r *copyOp) resolveTag(ctx context.Context, tag string) (registry.Descriptor, error) {
	d, err := r.job.Destination.Resolve(ctx, tag)
	if errors.Is(err, registry.ErrNotFound) || errors.Is(err, registry.ErrDenied) && r.job.MayReplace == nil {
		return registry.Descriptor{}, nil
	}
	return d, registry.WithSide(err, registry.Destination)
}

// convertDigest returns the digest of a tag in the algorithm of want. A registry may use an
// algorithm of its own choice for a manifest that was pushed by tag.
func (r *copyOp) convertDigest(ctx context.Context, tag string, current, want digest.Digest) (digest.Digest, error) {
	if current == "" || current.Algorithm() == want.Algorithm() {
		return current, nil
	}
	m, err := r.job.Destination.GetManifest(ctx, tag)
	if err != nil {
		return "", registry.WithSide(err, registry.Destination)
	}
	return want.Algorithm().FromBytes(m.Content), nil
}

// checkOverwrite calls MayReplace if a tag exists and has another digest than want.
func (r *copyOp) checkOverwrite(tag string, current, want digest.Digest) error {
	if r.job.MayReplace == nil || current == "" || current == want {
		return nil
	}
	return r.job.MayReplace(tag, current)
}

// writeTags writes the root under each tag, or under its digest if the job has no tags. It is
// the last step of a copy, so that a failed copy moves no tag. reupload is passed to put.
func (r *copyOp) writeTags(ctx context.Context, root registry.Manifest, tags []string, reupload func(context.Context) error) error {
	r.stats.setRoot(r.digest, root.MediaType)
	// For a push by tag, a registry may store the manifest under a digest of another
	// algorithm. For a push by digest, it must use this one.
	byDigest := len(r.job.Tags) == 0 || len(r.job.Missing) > 0 || r.digest.Algorithm() != digest.Canonical
	if byDigest && !r.rootPushed {
		if _, err := r.put(ctx, r.digest.String(), root, reupload); err != nil {
			return err
		}
	}
	for _, tag := range tags {
		if err := r.writeTag(ctx, tag, root, reupload); err != nil {
			return err
		}
		r.stats.addTag(tag)
	}
	return nil
}

// writeTag writes one tag and confirms that it has the new digest. If the job has MayReplace,
// writeTag first resolves the tag again, because another client may have written it.
func (r *copyOp) writeTag(ctx context.Context, tag string, m registry.Manifest, reupload func(context.Context) error) error {
	if r.job.MayReplace != nil {
		current, err := r.currentTagDigest(ctx, tag, m.Digest)
		if err != nil || current == m.Digest {
			return err
		}
		if err := r.checkOverwrite(tag, current, m.Digest); err != nil {
			return err
		}
	}
	written, err := r.put(ctx, tag, m, reupload)
	if err != nil || !written {
		return err
	}
	r.stats.addWritten(tag)
	return r.confirmTag(ctx, tag, m.Digest)
}

const (
	// maxReads is how often a tag is read after a write until it has the new content. Some
	// registries are eventually consistent.
	maxReads       = 4
	firstReadDelay = 100 * time.Millisecond
)

// confirmTag reads a tag that was just written until it has the digest want. The delay between
// attempts doubles.
func (r *copyOp) confirmTag(ctx context.Context, tag string, want digest.Digest) error {
	fail := func(e registry.Error) error {
		e.Side, e.Op, e.Repository, e.Reference = registry.Destination, "confirm the tag", r.job.Destination.Name(), tag
		return &e
	}
	wait := firstReadDelay
	for attempt := 1; ; attempt++ {
		d, err := r.job.Destination.Resolve(ctx, tag)
		if errors.Is(err, registry.ErrDenied) {
			return nil // the credentials allow only writes
		}
		if err != nil && !errors.Is(err, registry.ErrNotFound) {
			return registry.WithSide(err, registry.Destination)
		}
		found := "nothing"
		if err == nil {
			current, err := r.convertDigest(ctx, tag, d.Digest, want)
			if err != nil || current == want {
				return err
			}
			found = current.String()
		}
		if attempt == maxReads {
			return fail(registry.Error{Kind: registry.ErrMismatch, Message: fmt.Sprintf("the registry took %s and the tag holds %s", want, found),
				Hint: "Somebody else wrote the tag at the same time, or the registry does not keep what it takes. See who else pushes to it."})
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fail(registry.Error{Kind: registry.ErrUnavailable, Err: context.Cause(ctx)})
		}
		wait *= 2
	}
}
