package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
)

// restoreTimeout bounds how long a failed copy takes to restore tags, also if it failed
// because its own time was over.
const restoreTimeout = time.Minute

// restore puts back the tags of a failed copy that another resource removed in the same
// run. Terraform destroys or updates that resource before the provider knows that this
// one needs the tags, so the failed copy would lose them. If all tags hold the planned
// digest then, the copy is complete.
func (p *copyOperation) restore(ctx context.Context, job copier.Job, report copier.Report, failure error) (copier.Report, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTimeout)
	defer cancel()
	destination, tags := p.plan.place()
	wanted := digest.Digest(p.plan.Digest.ValueString())
	owners := p.engine.claimsIn(ctx, destination)
	complete := true
	for _, tag := range tags {
		held := p.record.Held[tag]
		if slices.Contains(report.Tagged, tag) {
			held = wanted
		} else if removed, deleted := owners.removedFrom(tag); removed != "" {
			m, err := restoreTag(ctx, job.Destination, tag, removed, deleted)
			if err != nil {
				return report, errors.Join(failure, err)
			}
			held, report.MediaType = removed, m.MediaType
			p.record.recordWritten(held, tag)
			p.record.recordHeld(held, tag)
		}
		complete = complete && held == wanted
	}
	if !complete {
		return report, failure
	}
	p.diags.AddAttributeWarning(path.Root("destination"), "Tags Restored From Destination",
		fmt.Sprintf("Another resource removed tags of %s in the same run, and the copy failed. The tags were restored and hold %s. The error of the copy: %s",
			destination.Name(), wanted, capitalize(failure.Error())))
	report.Tagged = tags
	return report, nil
}

// restoreTag writes a tag that held a digest until it was removed, and the manifest if
// that was deleted too. A tag that exists is left as it is.
func restoreTag(ctx context.Context, repository registry.Repository, tag string, d digest.Digest, deleted registry.Manifest) (registry.Manifest, error) {
	m, err := repository.GetManifest(ctx, d.String())
	if errors.Is(err, registry.ErrNotFound) && deleted.Digest == d {
		m, err = deleted, repository.PutManifest(ctx, d.String(), deleted)
	}
	if err != nil {
		return registry.Manifest{}, err
	}
	if _, err = repository.Resolve(ctx, tag); errors.Is(err, registry.ErrNotFound) {
		err = repository.PutManifest(ctx, tag, m)
	}
	return m, err
}
