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

// resolveTags asks both sides at once what the reference and the tags name, and
// returns what each tag holds. The reference is resolved here and never again.
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

// resolveSource finds out what is to be copied, where that is not known.
func (r *copyOp) resolveSource(ctx context.Context) (err error) {
	switch r.digest = r.job.Digest; {
	case len(r.job.Platforms) > 0:
		return r.selectPlatforms(ctx)
	case r.digest == "":
		r.digest, err = r.resolveReference(ctx)
	}
	return err
}

// resolveReference is the digest that the reference names at the source. Within one
// registry its manifest is read at once, which saves a round trip and costs a
// few bytes: whoever promotes there does so in a registry of their own. A foreign
// one may count what is read from it as a pull, also where it turns out that
// nothing has to be copied; Docker Hub does.
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

// currentTagDigest is the digest that a tag of the destination holds, in the algorithm of the
// wanted one; "" where there is no such tag, or where that may not be known.
func (r *copyOp) currentTagDigest(ctx context.Context, tag string, want digest.Digest) (digest.Digest, error) {
	d, err := r.resolveTag(ctx, tag)
	if err != nil {
		return "", err
	}
	return r.convertDigest(ctx, tag, d.Digest, want)
}

// resolve is what a tag of the destination names, and nothing where it is not
// there. That it may not be known is a failure only where what is there must
// not be replaced; otherwise it shows when the tag is written.
func (r *copyOp) resolveTag(ctx context.Context, tag string) (registry.Descriptor, error) {
	d, err := r.job.Destination.Resolve(ctx, tag)
	if errors.Is(err, registry.ErrNotFound) || errors.Is(err, registry.ErrDenied) && r.job.MayReplace == nil {
		return registry.Descriptor{}, nil
	}
	return d, registry.WithSide(err, registry.Destination)
}

// convertDigest gives the digest that a tag holds in the algorithm of the wanted
// one: under a tag, a registry may know a manifest by an algorithm of its own
// choice.
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

func (r *copyOp) checkOverwrite(tag string, current, want digest.Digest) error {
	if r.job.MayReplace == nil || current == "" || current == want {
		return nil
	}
	return r.job.MayReplace(tag, current)
}

// writeTags writes the root under each tag, or under its digest where there is
// none. It is the last that a copy does, so that a copy that fails moves no
// tag. heal is for put.
func (r *copyOp) writeTags(ctx context.Context, root registry.Manifest, tags []string, reupload func(context.Context) error) error {
	r.stats.setRoot(r.digest, root.MediaType)
	// Under a tag a registry stores a manifest by an algorithm of its own
	// choice; under its digest it has to take this one.
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

// tag writes one tag and makes sure that it holds what was written. One that
// not everything may be replaced under is looked at once more before: somebody
// may have written it since.
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
	// looks is how often a tag that was written is looked at until it shows
	// what was written: some registries are a moment behind themselves.
	maxReads       = 4
	firstReadDelay = 100 * time.Millisecond
)

// confirm asks what a tag holds that was just written.
func (r *copyOp) confirmTag(ctx context.Context, tag string, want digest.Digest) error {
	fail := func(e registry.Error) error {
		e.Side, e.Op, e.Repository, e.Reference = registry.Destination, "confirm the tag", r.job.Destination.Name(), tag
		return &e
	}
	wait := firstReadDelay
	for attempt := 1; ; attempt++ {
		d, err := r.job.Destination.Resolve(ctx, tag)
		if errors.Is(err, registry.ErrDenied) {
			return nil // may write and not read: there is nothing to confirm with
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
