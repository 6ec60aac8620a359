package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// Create performs the planned copy. If it fails, there is no state, and the next apply reuses
// the content that was already copied.
func (r *imageCopyResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var plan imageCopyModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	timeout, diags := plan.Timeouts.Create(ctx, defaultCopyTimeout)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	p := copyOperation{engine: r.engine, plan: &plan, record: newPrivateState(), diags: &resp.Diagnostics}
	if replaced, ok := r.engine.handovers.take(r.engine.canonical(p.destination())); ok {
		p.adoptPrivateState(replaced)
	}
	if !p.ownTags(ctx) {
		return
	}
	copyCtx, cancel := withTimeout(ctx, timeout, "create")
	defer cancel()
	if !p.run(copyCtx) {
		return
	}
	p.removePreviousTags(ctx)
	p.record.save(ctx, resp.Private, &resp.Diagnostics)
	resp.Diagnostics.Append(identify(ctx, resp.Identity, p.destination())...)
	resp.Diagnostics.Append(resp.State.Set(ctx, plan)...)
}

// Update copies the image if the destination is not up to date. It then applies on_destroy to
// tags that are no longer listed, including those at the previous destination. If it fails, the
// state does not change, and the private state records the tags that were written.
func (r *imageCopyResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan, prior imageCopyModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.State.Get(ctx, &prior)...)
	rec := loadRecord(ctx, req.Private, prior, &resp.Diagnostics)
	timeout, diags := plan.Timeouts.Update(ctx, defaultCopyTimeout)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	p := copyOperation{engine: r.engine, plan: &plan, prior: &prior, record: rec, diags: &resp.Diagnostics}
	identity, _ := prior.destinationTags()
	moved := !r.engine.sameRef(p.destination(), identity)
	if moved {
		p.adoptPrivateState(predecessor{identity, prior.OnDestroy.ValueString(), rec})
	}
	if !p.ownTags(ctx) {
		return
	}
	copyCtx, cancel := withTimeout(ctx, timeout, "update")
	defer cancel()
	done := p.run(copyCtx)
	switch {
	case done && moved:
		p.removePreviousTags(ctx)
	case done:
		done = p.removeDroppedTags(copyCtx)
	}
	if !done && !r.engine.sameRepository(p.destination(), identity) {
		rec.FailedMove = &failedMove{r.engine.canonical(p.destination()).Name(), p.record.Written, p.record.ReferrerTags}
		p.record = rec // applies to the repository in state
	}
	p.record.save(ctx, resp.Private, &resp.Diagnostics)
	if done {
		identity = p.destination()
		resp.Diagnostics.Append(resp.State.Set(ctx, plan)...)
	}
	resp.Diagnostics.Append(identify(ctx, resp.Identity, identity)...)
}

// copyOperation is the execution of one planned copy.
type copyOperation struct {
	engine *engine
	plan   *imageCopyModel
	prior  *imageCopyModel // nil for a create
	record privateState
	// before is the predecessor, if the resource gets another destination or replaces an
	// object.
	before *predecessor
	diags  *diag.Diagnostics
	// found reports whether a tag already pointed to the planned digest, so that the copy did
	// not write it.
	found bool
	// oldTagsErr is why the tags at the previous destination, which may be the same registry, could
	// not be resolved before the copy.
	oldTagsErr error
	// tagRemoved reports whether another resource removed a tag during this run. The digests in
	// private state are outdated then.
	tagRemoved bool
}

// destination returns the planned destination.
func (p *copyOperation) destination() imageref.Ref {
	destination, _ := p.plan.destinationTags()
	return destination
}

// adoptPrivateState continues with the private state of the previous destination or of the
// replaced object. In the same repository, tags that it wrote still count as written.
func (p *copyOperation) adoptPrivateState(before predecessor) {
	p.before = &before
	p.record = before.forDestination(p.engine, p.destination())
	p.record.ReplacedBy, p.record.DestroyPlannedBy = "", ""
	if p.prior == nil {
		p.record.Missing = nil // a new object is copied completely
	}
}

// ownTags takes ownership of the planned tags. It first waits for other resources that are
// removing tags; the copy timeout does not include that time. It reports whether it succeeded.
func (p *copyOperation) ownTags(ctx context.Context) bool {
	destination, tags := p.plan.destinationTags()
	var err error
	p.tagRemoved, err = p.engine.ownersIn(ctx, destination).own(ctx, tagTarget{digest.Digest(p.plan.Digest.ValueString()), p.plan.MediaType.ValueString()}, tags...)
	if err != nil {
		p.diags.AddAttributeError(path.Root("destination"), "Unable to Copy Image",
			fmt.Sprintf("It was interrupted while another resource removed tags from %s. Apply again to go on.", destination.Name()))
	}
	return err == nil
}

// run copies the planned digest to the planned tags and records the result. It reports whether
// all of it succeeded.
func (p *copyOperation) run(ctx context.Context) bool {
	planned := digest.Digest(p.plan.Digest.ValueString())
	destination, tags := p.plan.destinationTags()
	p.record.Folder = folderOf(destination)
	if p.upToDate(planned, tags) {
		if p.plan.MediaType.IsUnknown() {
			p.plan.MediaType = p.prior.MediaType
		}
		p.recordReferrers(ctx, copier.Report{})
		p.recordApplied(tags...)
		return true
	}
	job, ok := p.job(destination, planned, tags)
	if !ok {
		return false
	}
	p.oldTagsErr = p.forgetMovedTags(ctx, destination)
	var collected warnings
	report, err := p.copy(collected.collect(ctx), job)
	collected.addTo(p.diags)
	// A copy also writes the tags of referrers, which point to other digests.
	written := slices.DeleteFunc(slices.Clone(report.Written), func(tag string) bool { return !slices.Contains(tags, tag) })
	p.record.recordWritten(planned, written...)
	p.record.recordWritten(planned, p.engine.ownersIn(ctx, destination).restoredTags(planned, report.Tagged)...)
	p.found = len(written) < len(tags)
	p.record.recordObserved(planned, report.Tagged...)
	p.record.ReferrerTags = mergeTags(p.record.ReferrerTags, report.ReferrerTags)
	if err != nil {
		p.failed(err, tags, report.Tagged)
		return false
	}
	if p.plan.MediaType.IsUnknown() {
		p.plan.MediaType = types.StringValue(report.MediaType)
	}
	p.recordReferrers(ctx, report)
	p.warnEmptyFilter(ctx, job, report)
	p.recordApplied(tags...)
	return true
}

// upToDate reports whether the tags already point to the planned digest according to private
// state. Only settings change then, and no request is needed. Private state may be outdated, so
// it is not sufficient if the update removes tags: they may be the last ones of the image.
func (p *copyOperation) upToDate(planned digest.Digest, tags []string) bool {
	if p.prior == nil || p.before != nil {
		return false
	}
	if _, dropped := p.unlistedTags(); len(dropped) > 0 {
		return false
	}
	return !p.tagRemoved && !p.copiesReferrers() && len(p.record.Missing) == 0 && !slices.ContainsFunc(tags, func(tag string) bool { return p.record.Observed[tag] != planned })
}

// job returns the copy to perform, without a source: copy opens that only if needed. If a
// required value is still unknown, job adds a diagnostic and reports false.
func (p *copyOperation) job(destination imageref.Ref, planned digest.Digest, tags []string) (copier.Job, bool) {
	source, err := p.plan.Source.ref()
	if err != nil {
		p.diags.AddAttributeError(path.Root("source"), "Invalid Image Reference", invalidReference(p.plan.Source.ValueString(), err))
		return copier.Job{}, false
	}
	for _, at := range []imageref.Ref{source, destination} {
		if setting := p.engine.unknownSettingFor(at); setting != "" {
			p.diags.AddError("Incomplete Provider Configuration",
				fmt.Sprintf("%s is still not known, and %s cannot be asked without it.", setting, at.Name()))
			return copier.Job{}, false
		}
	}
	job := copier.Job{Reference: source.Identifier(), Digest: planned, MediaType: p.plan.MediaType.ValueString(), Tags: tags, Missing: p.record.Missing,
		Referrers: p.copiesReferrers(), ReferrerTypes: p.plan.referrerTypes(), ReferrerTags: p.record.ReferrerTags}
	if job.Destination, err = p.engine.openDestination(destination); err != nil {
		p.failed(err, tags, nil)
		return copier.Job{}, false
	}
	if platforms := p.plan.platforms(); len(platforms) > 0 {
		job.Digest, job.Platforms = digest.Digest(p.plan.SourceDigest.ValueString()), platformsOf(platforms)
	}
	if !p.plan.Overwrite.ValueBool() {
		job.MayReplace = p.record.overwriteGuard(destination, p.prior == nil).checkOverwrite
	}
	return job, true
}

// copy performs a job. During an update it first tries to tag content that the destination
// already has. The update then succeeds even if the source is gone, and does not count against
// its pull limit.
func (p *copyOperation) copy(ctx context.Context, job copier.Job) (copier.Report, error) {
	if p.prior != nil && !job.Referrers && len(job.Missing) == 0 {
		planned := digest.Digest(p.plan.Digest.ValueString())
		if _, err := job.Destination.Resolve(ctx, planned.String()); err == nil {
			retag := job
			retag.Source, retag.Reference, retag.Digest, retag.Platforms = job.Destination, planned.String(), planned, nil
			report, err := p.engine.copier.Copy(ctx, retag)
			if !errors.Is(err, registry.ErrNotFound) && !errors.Is(err, registry.ErrMissingContent) && !errors.Is(err, registry.ErrMismatch) {
				return report, err
			}
		}
	}
	source, err := p.plan.Source.ref()
	if err == nil {
		job.Source, err = p.engine.openSource(source)
	}
	if err != nil {
		return copier.Report{}, err
	}
	return p.engine.copier.Copy(ctx, job)
}

// recordApplied records that the tags point to the planned digest.
func (p *copyOperation) recordApplied(tags ...string) {
	p.plan.setPromoted()
	planned := digest.Digest(p.plan.Digest.ValueString())
	p.record.recordObserved(planned, tags...)
	source, err := p.plan.Source.ref()
	if err != nil {
		return // an invalid source has no resolved digest
	}
	p.record.Applied = resolvedSource{
		Source:       source.String(),
		Platforms:    p.plan.platforms(),
		SourceDigest: digest.Digest(p.plan.SourceDigest.ValueString()),
		Digest:       planned,
		MediaType:    p.plan.MediaType.ValueString(),
	}
	p.record.Latest = p.record.Applied
}

// addError adds a diagnostic for a failed copy, with advice and the tags that were written.
func (p *copyOperation) failed(err error, tags, tagged []string) {
	var advice []string
	if len(tags) > 1 {
		missing := slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return slices.Contains(tagged, tag) })
		advice = append(advice, fmt.Sprintf("Tags that hold %s by now: %s. Tags that do not: %s.", p.plan.Digest.ValueString(), joinNames(tagged), joinNames(missing)))
	}
	if errors.Is(err, context.Canceled) {
		advice = append(advice, "What was copied stays. Apply again to go on.")
	}
	if p.before != nil && p.prior != nil {
		advice = append(advice, fmt.Sprintf("The resource stays at %s.", p.before.destination))
	}
	if p.before != nil && p.prior == nil {
		advice = append(advice, fmt.Sprintf("Terraform has removed the replaced object from the state already. Its tags are still in %s, and count as not written in the next apply. "+
			"With overwrite = false, import the resource first if the source has moved.", p.before.destination.Name()))
	}
	at := attributeOf(err)
	if at.Equal(path.Root("source")) && errors.Is(err, registry.ErrNotFound) {
		advice = append(advice, missingTagAdvice(p.plan.Source, err)...)
		advice = append(advice, p.sourceGoneAdvice(err)...)
	}
	addEngineError(p.diags, at, "Unable to Copy Image", err, advice...)
}

// sourceGoneAdvice returns advice for a source that no longer has the planned digest. Planning
// again does not help if only a part of the image is missing.
func (p *copyOperation) sourceGoneAdvice(err error) []string {
	if len(p.record.Missing) > 0 && p.plan.Digest.Equal(p.prior.Digest) {
		return []string{fmt.Sprintf("What is missing at the destination cannot be repaired from this source: it is gone there. Restore it there, or set `source` to another place that has %s.", p.plan.SourceDigest.ValueString())}
	}
	e, ok := errors.AsType[*registry.Error](err)
	if !ok || e.Reference != p.plan.SourceDigest.ValueString() {
		return nil
	}
	source, _ := p.plan.Source.ref() // parsed successfully before the copy
	if _, inRegistry := source.Reference(); inRegistry && source.Digest() == "" {
		return []string{fmt.Sprintf("For the plan, the registry said that the tag %q names this digest. Plan again to promote what it names now. "+
			"Should that be the same digest, then the registry names what it does not have: tell those who run it.", source.Identifier())}
	}
	return []string{"The plan was made when the source still had it. Plan again to promote what the source has now."}
}
