package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const titleRestored = "Tags Restored From Destination"

// restoreRemoved restores planned tags that another resource has removed in this run, whether
// or not this plan succeeds. Only the plan that Terraform repeats during apply finds such tags.
func (p *planBuilder) restoreRemoved(ctx context.Context) {
	destination, tags := p.plan.destinationTags()
	if p.engine == nil || p.engine.unknownSettingFor(destination) != "" {
		return
	}
	owners := p.engine.ownersIn(ctx, destination)
	if !slices.ContainsFunc(tags, func(tag string) bool { return owners.removedDigest(tag) != "" }) {
		return
	}
	repository, err := p.engine.openDestination(destination)
	if err != nil {
		return // the plan reports the error
	}
	unlock, err := owners.lock(ctx) // until a removal in progress has ended
	if err != nil {
		return
	}
	defer unlock()
	var restored []string
	defer func() {
		if len(restored) > 0 {
			p.diags.AddAttributeWarning(path.Root("destination"), titleRestored,
				fmt.Sprintf("Another resource removed tags of %s in the same run. They were restored, because this resource lists them: %s.", destination.Name(), joinNames(restored)))
		}
	}()
	for _, tag := range tags {
		removed := owners.removedDigest(tag)
		if removed == "" {
			continue
		}
		_, wrote, err := owners.restore(ctx, repository, tag, removed)
		logResolved(ctx, destination.Name(), tag, removed, "restore", err)
		if wrote {
			owners.noteRestored(tag, removed)
			restored = append(restored, tag)
		}
	}
}

// noteRestored records that a removed tag exists again.
func (c *repoOwners) noteRestored(tag string, d digest.Digest) {
	for _, repository := range append([]*repoOwners{c}, c.aliasSnapshot()...) {
		repository.mu.Lock()
		delete(repository.removed, tag)
		repository.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restored[tag] = d
}

// restoredTags returns those of the tags that were restored in this run and point to d.
func (c *repoOwners) restoredTags(d digest.Digest, tags []string) (restored []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range tags {
		if c.restored[tag] == d {
			restored = append(restored, tag)
		}
	}
	return restored
}

// restore writes a tag that pointed to d until it was removed, and its manifests if they were
// deleted. It returns the manifest that the tag points to, and reports whether it wrote the
// tag. It does not change a tag that exists.
func (c *repoOwners) restore(ctx context.Context, repository registry.Repository, tag string, d digest.Digest) (m registry.Manifest, wrote bool, err error) {
	switch found, err := repository.Resolve(ctx, tag); {
	case err == nil:
		return registry.Manifest{Digest: found.Digest, MediaType: found.MediaType}, false, nil
	case !errors.Is(err, registry.ErrNotFound):
		return registry.Manifest{}, false, err
	}
	if m, err = c.restoreManifest(ctx, repository, d); err == nil {
		err = repository.PutManifest(ctx, tag, m)
	}
	return m, err == nil, err
}

// restoreManifest returns the manifest with digest d. If the manifest was deleted in this run,
// it is pushed again after the manifests that it references.
func (c *repoOwners) restoreManifest(ctx context.Context, repository registry.Repository, d digest.Digest) (registry.Manifest, error) {
	m, err := repository.GetManifest(ctx, d.String())
	deleted, known := c.deletedManifest(d)
	if err == nil || !known || !errors.Is(err, registry.ErrNotFound) {
		return m, err
	}
	contents, err := deleted.Parse()
	if err != nil {
		return registry.Manifest{}, err
	}
	for _, child := range contents.Manifests {
		if _, known := c.deletedManifest(child.Digest); known {
			if _, err := c.restoreManifest(ctx, repository, child.Digest); err != nil {
				return registry.Manifest{}, err
			}
		}
	}
	return deleted, repository.PutManifest(ctx, d.String(), deleted)
}
