package provider

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// look says what a tag or digest names in a repository. Its ErrNotFound is
// definite: a HEAD that finds nothing is confirmed by a GET, whose answer shows
// that it is the registry's own and not that of a proxy on the way. The digest
// is in the algorithm of like ("" for whatever the registry answers with), so
// that the two can be compared.
func look(ctx context.Context, repo registry.Repository, reference string, like digest.Digest) (registry.Descriptor, error) {
	d, err := ask(ctx, repo, reference, like)
	logLook(ctx, repo.Name(), repo.Redact(reference), d.Digest, "registry", err)
	return d, err
}

func ask(ctx context.Context, repo registry.Repository, reference string, like digest.Digest) (registry.Descriptor, error) {
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

// held is what tags of a destination hold; see lookAtAll.
func (e *engine) held(ctx context.Context, destination imageref.Ref, tags []string, like digest.Digest) (map[string]registry.Descriptor, error) {
	repo, err := e.to(destination)
	if err != nil {
		return nil, err
	}
	return lookAtAll(ctx, repo, tags, like)
}

// maxLooks is how many tags are looked at at once: there may be thousands, and
// the host's limit is the client's matter.
const maxLooks = 32

// lookAtAll looks at several tags at once. A tag that is not there has a zero
// descriptor; any other failure is the error, of the first tag that has one.
func lookAtAll(ctx context.Context, repo registry.Repository, tags []string, like digest.Digest) (map[string]registry.Descriptor, error) {
	found := make([]registry.Descriptor, len(tags))
	errs := make([]error, len(tags))
	var group errgroup.Group
	group.SetLimit(maxLooks)
	for i, tag := range tags {
		group.Go(func() error {
			found[i], errs[i] = look(ctx, repo, tag, like)
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
