package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

const titleRestored = "Tags Restored From Destination"

// attributeReader is a configuration or a plan.
type attributeReader interface {
	GetAttribute(ctx context.Context, at path.Path, target any) diag.Diagnostics
}

// keepListedTags keeps the tags that a resource lists, however its plan ends. Other resources
// that remove tags later in this run spare them, and tags that another resource has removed in
// this run are restored. Both happen only while applying: Terraform plans each changed resource
// again, after some others have been applied. keepListedTags reads only the attributes that
// list tags, because other attributes may be invalid.
func (e *engine) keepListedTags(ctx context.Context, from attributeReader, diags *diag.Diagnostics) {
	var m imageCopyModel
	if e == nil || from.GetAttribute(ctx, path.Root("destination"), &m.Destination).HasError() || !m.Destination.known() {
		return
	}
	if from.GetAttribute(ctx, path.Root("additional_tags"), &m.AdditionalTags).HasError() {
		m.AdditionalTags = types.SetNull(types.StringType)
	}
	if _, problem := parseDestination(m.Destination.ValueString()); problem != "" {
		return
	}
	destination, tags := m.destinationTags()
	owners := e.ownersIn(ctx, destination)
	owners.list(tags...)
	e.restoreRemoved(ctx, owners, destination, tags, diags)
}

// restoreRemoved restores those of the tags that another resource has removed in this run.
func (e *engine) restoreRemoved(ctx context.Context, owners *repoOwners, destination imageref.Ref, tags []string, diags *diag.Diagnostics) {
	if !slices.ContainsFunc(tags, func(tag string) bool { return owners.removedDigest(tag) != "" }) || e.unknownSettingFor(destination) != "" {
		return
	}
	repository, err := e.openDestination(destination)
	if err != nil {
		return // the plan or the copy reports the error
	}
	unlock, err := owners.lock(ctx) // until a removal in progress has ended
	if err != nil {
		return
	}
	defer unlock()
	ctx, cancel := withTimeout(ctx, defaultReadTimeout, "read")
	defer cancel()
	var collected warnings
	defer collected.addTo(diags)
	ctx = collected.collect(ctx)
	var restored []string
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
	if len(restored) > 0 {
		diags.AddAttributeWarning(path.Root("destination"), titleRestored,
			fmt.Sprintf("Another resource removed tags of %s in the same run. They were restored, because this resource lists them: %s.", destination.Name(), joinNames(restored)))
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
