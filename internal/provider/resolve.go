package provider

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// resolveReference resolves a tag or digest in a repository. An error that matches
// registry.ErrNotFound is definite: a HEAD request that finds nothing is confirmed by a GET
// request, whose response shows that it comes from the registry and not from a proxy. The
// digest has the algorithm of like, so that both can be compared. If like is empty, the
// registry chooses the algorithm.
func resolveReference(ctx context.Context, repo registry.Repository, reference string, like digest.Digest) (registry.Descriptor, error) {
	d, err := resolveWithConfirmation(ctx, repo, reference, like)
	logResolved(ctx, repo.Name(), repo.Redact(reference), d.Digest, "registry", err)
	return d, err
}

func resolveWithConfirmation(ctx context.Context, repo registry.Repository, reference string, like digest.Digest) (registry.Descriptor, error) {
	d, err := repo.Resolve(ctx, reference)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return d, err
	}
	if err == nil && registry.IsManifest(d.MediaType) && (like == "" || d.Digest.Algorithm() == like.Algorithm()) {
		return d, nil
	}
	missing := err != nil
	m, err := repo.GetManifest(ctx, reference)
	if !missing && errors.Is(err, registry.ErrNotFound) {
		return registry.Descriptor{}, registry.ErrInconsistentHead(repo.Name(), reference)
	}
	if err != nil {
		return registry.Descriptor{}, err
	}
	if like != "" && like.Algorithm() != m.Digest.Algorithm() {
		m, err = registry.NewManifest(m.MediaType, m.Content, like.Algorithm())
	}
	return m.Descriptor(), err
}

// resolveTags resolves tags of a destination; see resolveAll.
func (e *engine) resolveTags(ctx context.Context, destination imageref.Ref, tags []string, like digest.Digest) (map[string]registry.Descriptor, error) {
	repo, err := e.openDestination(destination)
	if err != nil {
		return nil, err
	}
	return resolveAll(ctx, repo, tags, like)
}

// maxConcurrentResolves limits concurrent calls, because there may be thousands of tags. The
// client applies the limits of the host.
const maxConcurrentResolves = 32

// resolveAll resolves several tags concurrently. The descriptor of a tag that does not exist is
// zero. For any other failure it returns the error of the first tag that failed.
func resolveAll(ctx context.Context, repo registry.Repository, tags []string, like digest.Digest) (map[string]registry.Descriptor, error) {
	found := make([]registry.Descriptor, len(tags))
	errs := make([]error, len(tags))
	var group errgroup.Group
	group.SetLimit(maxConcurrentResolves)
	for i, tag := range tags {
		group.Go(func() error {
			found[i], errs[i] = resolveReference(ctx, repo, tag, like)
			return nil
		})
	}
	_ = group.Wait()
	byTag := map[string]registry.Descriptor{}
	for i, tag := range tags {
		if errs[i] != nil && !errors.Is(errs[i], registry.ErrNotFound) {
			return nil, registry.WithSide(errs[i], registry.Destination)
		}
		byTag[tag] = found[i]
	}
	return byTag, nil
}
