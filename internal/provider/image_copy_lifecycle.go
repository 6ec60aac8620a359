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

// Create copies what the plan says. Where that fails there is no state, and the
// next apply finds at the destination what this one brought there.
func (r *imageCopyResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var plan imageCopyModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	timeout, diags := plan.Timeouts.Create(ctx, defaultCopyTimeout)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	p := copyOperation{engine: r.engine, plan: &plan, record: newRecord(), diags: &resp.Diagnostics}
	if replaced, ok := r.engine.handovers.take(r.engine.canonical(p.destination())); ok {
		p.adoptRecord(replaced)
	}
	if !p.claim(ctx) {
		return
	}
	copying, cancel := withTimeout(ctx, timeout, "create")
	defer cancel()
	if !p.run(copying) {
		return
	}
	p.removePreviousTags(ctx)
	p.record.save(ctx, resp.Private, &resp.Diagnostics)
	resp.Diagnostics.Append(identify(ctx, resp.Identity, p.destination())...)
	resp.Diagnostics.Append(resp.State.Set(ctx, plan)...)
}

// Update copies what the plan says where that is not there yet, and then lets
// go of tags that are no longer wanted, also at a destination that it had before.
// Where it fails, the state stays as it was and the record says what was done.
func (r *imageCopyResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan, prior imageCopyModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.State.Get(ctx, &prior)...)
	rec := loadRecord(ctx, req.Private, &resp.Diagnostics).orOf(prior)
	timeout, diags := plan.Timeouts.Update(ctx, defaultCopyTimeout)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	p := copyOperation{engine: r.engine, plan: &plan, prior: &prior, record: rec, diags: &resp.Diagnostics}
	identity, _ := prior.place()
	moved := !r.engine.same(p.destination(), identity)
	if moved {
		p.adoptRecord(predecessor{identity, prior.OnDestroy.ValueString(), rec})
	}
	if !p.claim(ctx) {
		return
	}
	copying, cancel := withTimeout(ctx, timeout, "update")
	defer cancel()
	done := p.run(copying)
	switch {
	case done && moved:
		p.removePreviousTags(ctx)
	case done:
		done = p.removeDroppedTags(copying)
	}
	if !done && !r.engine.sameRepository(p.destination(), identity) {
		rec.Moving = &moving{r.engine.canonical(p.destination()).Name(), p.record.Put, p.record.ReferrerTags}
		p.record = rec // of where the resource stays
	}
	p.record.save(ctx, resp.Private, &resp.Diagnostics)
	if done {
		identity = p.destination()
		resp.Diagnostics.Append(resp.State.Set(ctx, plan)...)
	}
	resp.Diagnostics.Append(identify(ctx, resp.Identity, identity)...)
}

// copyOperation is one planned copy on its way.
type copyOperation struct {
	engine *engine
	plan   *imageCopyModel
	prior  *imageCopyModel // nil while creating
	record privateState
	// before is what the resource had in place until now, if it gets another
	// destination or replaces an object.
	before *predecessor
	diags  *diag.Diagnostics
	// found reports whether the copy found a tag in place that it did not write.
	found bool
	// disturbed says that another resource removed a tag during this run, so
	// that what was seen before counts no more.
	disturbed bool
}

// destination is where the image is put.
func (p *copyOperation) destination() imageref.Ref {
	destination, _ := p.plan.place()
	return destination
}

// adoptRecord continues with the record of the previous destination or of the replaced
// object. In the same repository, the tags that it wrote still count as written.
func (p *copyOperation) adoptRecord(before predecessor) {
	p.before = &before
	p.record = before.in(p.engine, p.destination())
	p.record.ReplacedBy, p.record.DestroyPlannedBy = "", ""
	if p.prior == nil {
		p.record.Missing = nil // a new object is copied whole
	}
}

// claim says that the planned tags are this resource's from now on. It waits for
// other resources that remove tags at the moment, which the time for the copy
// does not count. It says whether that came to an end.
func (p *copyOperation) claim(ctx context.Context) bool {
	destination, tags := p.plan.place()
	var err error
	p.disturbed, err = p.engine.claimsIn(ctx, destination).own(ctx, claim{digest.Digest(p.plan.Digest.ValueString()), p.plan.MediaType.ValueString()}, tags...)
	if err != nil {
		p.diags.AddAttributeError(path.Root("destination"), "The image could not be copied",
			fmt.Sprintf("It was interrupted while another resource removed tags from %s. Apply again to go on.", destination.Name()))
	}
	return err == nil
}

// run brings the planned digest under the planned tags and records it. It says
// whether all of it succeeded.
func (p *copyOperation) run(ctx context.Context) bool {
	wanted := digest.Digest(p.plan.Digest.ValueString())
	destination, tags := p.plan.place()
	if p.upToDate(wanted, tags) {
		if p.plan.MediaType.IsUnknown() {
			p.plan.MediaType = p.prior.MediaType
		}
		p.recordReferrers(ctx, copier.Report{})
		p.recordApplied(tags...)
		return true
	}
	job, ok := p.job(destination, wanted, tags)
	if !ok {
		return false
	}
	var said warnings
	report, err := p.copy(said.collect(ctx), job)
	said.tell(p.diags)
	p.record.recordWritten(wanted, report.Written...)
	p.record.recordWritten(wanted, p.engine.claimsIn(ctx, destination).restoredTags(wanted, report.Tagged)...)
	p.found = len(report.Written) < len(tags)
	p.record.recordHeld(wanted, report.Tagged...)
	p.record.ReferrerTags = merged(p.record.ReferrerTags, report.ReferrerTags)
	if err != nil {
		p.failed(err, tags, report.Tagged)
		return false
	}
	if p.plan.MediaType.IsUnknown() {
		p.plan.MediaType = types.StringValue(report.MediaType)
	}
	p.recordReferrers(ctx, report)
	p.warnOfFilter(ctx, job, report)
	p.recordApplied(tags...)
	return true
}

// upToDate says whether the tags hold the planned digest already, as far as was
// seen, so that only settings change and no registry needs to be asked.
func (p *copyOperation) upToDate(wanted digest.Digest, tags []string) bool {
	return p.prior != nil && !p.disturbed && !p.bringsReferrers() && len(p.record.Missing) == 0 && !slices.ContainsFunc(tags, func(tag string) bool { return p.record.Held[tag] != wanted })
}

// job is the copy to do, but for where it is copied from, which copy opens when
// it is needed. It says no, with a diagnostic, where something is
// still unknown that was to be known by now.
func (p *copyOperation) job(destination imageref.Ref, wanted digest.Digest, tags []string) (copier.Job, bool) {
	source, err := p.plan.Source.place()
	if err != nil {
		p.diags.AddAttributeError(path.Root("source"), "Invalid image reference", invalidReference(p.plan.Source.ValueString(), err))
		return copier.Job{}, false
	}
	for _, at := range []imageref.Ref{source, destination} {
		if setting := p.engine.unknownSettingFor(at); setting != "" {
			p.diags.AddError("The provider's configuration is incomplete",
				fmt.Sprintf("%s is still not known, and %s cannot be asked without it.", setting, at.Name()))
			return copier.Job{}, false
		}
	}
	job := copier.Job{Reference: source.Identifier(), Digest: wanted, MediaType: p.plan.MediaType.ValueString(), Tags: tags, Missing: p.record.Missing,
		Referrers: p.bringsReferrers(), ReferrerTypes: p.plan.referrerTypes(), ReferrerTags: p.record.ReferrerTags}
	if job.Destination, err = p.engine.to(destination); err != nil {
		p.failed(err, tags, nil)
		return copier.Job{}, false
	}
	if platforms := p.plan.platforms(); len(platforms) > 0 {
		job.Digest, job.Platforms = digest.Digest(p.plan.SourceDigest.ValueString()), platformsOf(platforms)
	}
	if !p.plan.Overwrite.ValueBool() {
		job.MayReplace = p.record.guard(destination, p.prior == nil).checkOverwrite
	}
	return job, true
}

// copy does a job. While updating, what the destination has already is tagged
// from there, so that a source that is gone, or counts what is pulled from it,
// is not needed.
func (p *copyOperation) copy(ctx context.Context, job copier.Job) (copier.Report, error) {
	if p.prior != nil && !job.Referrers && len(job.Missing) == 0 {
		wanted := digest.Digest(p.plan.Digest.ValueString())
		if _, err := job.Destination.Resolve(ctx, wanted.String()); err == nil {
			retag := job
			retag.Source, retag.Reference, retag.Digest, retag.Platforms = job.Destination, wanted.String(), wanted, nil
			report, err := p.engine.copier.Copy(ctx, retag)
			if !errors.Is(err, registry.ErrNotFound) && !errors.Is(err, registry.ErrMissingContent) && !errors.Is(err, registry.ErrMismatch) {
				return report, err
			}
		}
	}
	source, err := p.plan.Source.place()
	if err == nil {
		job.Source, err = p.engine.from(source)
	}
	if err != nil {
		return copier.Report{}, err
	}
	return p.engine.copier.Copy(ctx, job)
}

// recordApplied records that the tags hold what was planned.
func (p *copyOperation) recordApplied(tags ...string) {
	p.plan.setPromoted()
	wanted := digest.Digest(p.plan.Digest.ValueString())
	p.record.recordHeld(wanted, tags...)
	source, err := p.plan.Source.place()
	if err != nil {
		return // nothing was planned from it
	}
	p.record.Applied = resolvedSource{
		Source:       source.String(),
		Platforms:    p.plan.platforms(),
		SourceDigest: digest.Digest(p.plan.SourceDigest.ValueString()),
		Digest:       wanted,
		MediaType:    p.plan.MediaType.ValueString(),
	}
	p.record.Wanted = p.record.Applied
}

// failed tells why a copy failed and how far it came.
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
		advice = append(advice, untagged(p.plan.Source, err)...)
		advice = append(advice, p.sourceGoneAdvice(err)...)
	}
	addEngineError(p.diags, at, "The image could not be copied", err, advice...)
}

// sourceGoneAdvice is what to do where the source does not have the planned digest. Where it
// is a part of the image that is missing, another plan is no help.
func (p *copyOperation) sourceGoneAdvice(err error) []string {
	if len(p.record.Missing) > 0 && p.plan.Digest.Equal(p.prior.Digest) {
		return []string{fmt.Sprintf("What is missing at the destination cannot be repaired from this source: it is gone there. Restore it there, or set `source` to another place that has %s.", p.plan.SourceDigest.ValueString())}
	}
	e, ok := errors.AsType[*registry.Error](err)
	if !ok || e.Reference != p.plan.SourceDigest.ValueString() {
		return nil
	}
	source, _ := p.plan.Source.place() // copied from
	if _, inRegistry := source.Reference(); inRegistry && source.Digest() == "" {
		return []string{fmt.Sprintf("For the plan, the registry said that the tag %q names this digest. Plan again to promote what it names now. "+
			"Should that be the same digest, then the registry names what it does not have: tell those who run it.", source.Identifier())}
	}
	return []string{"The plan was made when the source still had it. Plan again to promote what the source has now."}
}
