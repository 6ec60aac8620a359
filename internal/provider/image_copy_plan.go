package provider

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// ModifyPlan decides which digest the tags at the destination will have.
//
//   - A destroy has no digest to plan.
//   - If source, destination or a provider setting that the source needs is unknown, the computed
//     attributes stay unknown and no request is sent.
//   - If the source reference is the one that Read resolved, the plan uses that result. No
//     request is sent, so that the plan that Terraform repeats during apply is the same even
//     if the tag moves.
//   - For a create or a changed source, the plan uses the planned content of another copy in
//     this run that writes the source. If this copy refers to that one, Terraform plans it
//     first, and applies it before planning this copy again.
//   - Otherwise the plan resolves the source, and resolves it again during apply. If the
//     digests differ, Terraform fails the apply before anything is copied.
func (r *imageCopyResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		r.planDestroy(ctx, req, resp)
		return
	}
	r.engine.keepListedTags(ctx, req.Plan, &resp.Diagnostics)
	var plan imageCopyModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	p := planBuilder{engine: r.engine, diags: &resp.Diagnostics, plan: plan}
	if !req.State.Raw.IsNull() {
		p.update = true
		resp.Diagnostics.Append(req.State.Get(ctx, &p.prior)...)
		p.record = loadRecord(ctx, req.Private, p.prior, &resp.Diagnostics)
		p.keepSpelling(ctx, &resp.Plan)
		plan = p.plan
	}
	resp.Diagnostics.Append(plan.planOffline(ctx, &resp.Plan)...)
	if resp.Diagnostics.HasError() {
		return
	}
	p.resolvePredecessor(ctx, !p.update && hasPrivateState(ctx, req.Private), resp.Private)
	if p.warnLater != nil {
		defer p.warnLater()
	}
	p.planDroppedTags(ctx)
	if resp.Diagnostics.HasError() || plan.Source.IsUnknown() || plan.Destination.IsUnknown() || plan.platformsUnknown() {
		return
	}
	timeout, diags := plan.Timeouts.Read(ctx, defaultReadTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := withTimeout(ctx, timeout, "read")
	defer cancel()
	var collected warnings
	resolved := p.plannedSource(collected.collect(ctx))
	if !resp.Diagnostics.HasError() && resolved.Digest != "" {
		p.setComputed(resolved)
		p.planReferrers(resolved)
		p.warnSignatures(resolved)
		for name, value := range map[string]attr.Value{
			"digest":             p.plan.Digest,
			"source_digest":      p.plan.SourceDigest,
			"media_type":         p.plan.MediaType,
			"pinned_reference":   p.plan.PinnedReference,
			"promoted_reference": p.planPromoted(),
			"referrers_digest":   p.plan.ReferrersDigest,
		} {
			resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root(name), value)...)
		}
		unchanged := p.update && resp.Plan.Raw.Equal(req.State.Raw)
		if p.planTags(ctx, unchanged) {
			// Plan a change. Without one, Terraform does not call Update, which writes the tags
			// again.
			resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("media_type"), types.StringUnknown())...)
			resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("promoted_reference"), types.StringUnknown())...)
		}
		if unchanged || p.checkWritable() {
			p.checkTags(collected.collect(ctx), resolved.Digest)
		}
	}
	collected.addTo(&resp.Diagnostics)
}

// planDestroy marks the private data of the plan as that of a destroy without a replacement. It
// forgets tags that another resource declares, so that Delete does not remove them. For a
// deposed object, Terraform plans the destroy again during apply, when the declarations of the
// plan are no longer known.
func (r *imageCopyResource) planDestroy(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	var state imageCopyModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	rec := loadRecord(ctx, req.Private, state, &resp.Diagnostics)
	if resp.Diagnostics.HasError() {
		return
	}
	destination, _ := parseDestination(state.Destination.ValueString())
	rec.DestroyPlannedBy, rec.ReplacedBy = "", ""
	if r.engine == nil {
		rec.DestroyPlannedBy = "unconfigured"
	} else {
		r.engine.handovers.discard(r.engine.canonical(destination), rec, &resp.Diagnostics)
		rec.DestroyPlannedBy = r.engine.runID
	}
	if state.OnDestroy.ValueString() != onDestroyRetain {
		if r.engine != nil {
			spared, _ := r.engine.ownersIn(ctx, destination).planRemoval(rec.Written, false)
			for _, tag := range spared {
				rec.forget(tag)
			}
		}
		rec.warnRetained(destination, nil, &resp.Diagnostics)
	}
	rec.save(ctx, resp.Private, &resp.Diagnostics)
}

// planBuilder builds the plan of one resource.
type planBuilder struct {
	engine *engine
	diags  *diag.Diagnostics
	plan   imageCopyModel
	// update reports whether there is a prior state, and so a private state.
	update bool
	prior  imageCopyModel
	record privateState
	// before is the predecessor, if the resource gets another destination or may replace an
	// object. candidate is the object if it may turn out not to be replaced.
	before    *predecessor
	candidate *replaceCandidate
	// warnLater warns about old tags when the planned digest is known, if it can be. It is nil
	// if there are none.
	warnLater func()
}

// dependencyAdvice is the advice for a source that does not exist because another resource
// still has to create it.
const dependencyAdvice = "If this configuration itself makes the image, then `source` has to depend on what makes it: refer to an attribute of that resource that is known only after apply " +
	"or, where another registry_image_copy puts it there, to the pinned_reference of that copy. If that copy belongs to another provider alias, put data \"registry_manifest\" \"between\" " +
	"{ reference = registry_image_copy.NAME.pinned_reference } between the two, and make its pinned_reference the source."

// destroyWithoutRefresh is the advice for errors that also fail terraform destroy, which makes
// a plan first.
const destroyWithoutRefresh = "If this is in the way of a terraform destroy, use terraform destroy -refresh=false."

// destroyAdvice returns destroyWithoutRefresh if there is an object to destroy.
func (p *planBuilder) destroyAdvice() []string {
	if !p.update {
		return nil
	}
	return []string{destroyWithoutRefresh}
}

// setComputed sets the computed attributes that are known.
func (p *planBuilder) setComputed(resolved resolvedSource) {
	destination, _ := parseDestination(p.plan.Destination.ValueString())
	p.plan.Digest = types.StringValue(resolved.Digest.String())
	p.plan.SourceDigest = types.StringValue(resolved.SourceDigest.String())
	p.plan.PinnedReference = types.StringValue(destination.Pinned(resolved.Digest))
	if p.plan.Destination.Equal(p.prior.Destination) {
		p.plan.PinnedReference = spelledAs(p.prior.PinnedReference, destination.Pinned(resolved.Digest))
	}
	switch {
	case resolved.MediaType != "":
		p.plan.MediaType = types.StringValue(resolved.MediaType)
	case p.update && p.plan.Digest.Equal(p.prior.Digest):
		p.plan.MediaType = p.prior.MediaType
	default:
		p.plan.MediaType = types.StringUnknown()
	}
}

// planTags records the planned content of the tags. unchanged reports whether nothing else is
// planned. A conflict with another resource fails the plan. Terraform plans again during apply,
// so values that were unknown in the first plan are recorded then. planTags reports whether
// existing tags have to be written again, because another resource removes them.
func (p *planBuilder) planTags(ctx context.Context, unchanged bool) (affected bool) {
	if p.engine == nil { // an unconfigured provider makes no requests and records nothing
		return false
	}
	source, _ := p.plan.Source.ref() // parsed successfully by plannedSource
	destination, tags := p.plan.destinationTags()
	repository := p.engine.ownersIn(ctx, destination)
	affected, err := repository.plan(declaration{
		source: p.engine.canonical(source), destination: p.engine.canonical(destination), platforms: p.plan.platforms(),
		digest: digest.Digest(p.plan.Digest.ValueString()), mediaType: p.plan.MediaType.ValueString(),
		referrers: p.plan.Referrers.ValueBool() && p.plan.ReferrersDigest.IsUnknown(), unchanged: unchanged,
	}, tags...)
	if err != nil {
		addEngineError(p.diags, path.Root("destination"), titleConflict, err, p.destroyAdvice()...)
	}
	if affected {
		p.diags.AddAttributeWarning(path.Root("destination"), "Tag Is Removed by Another Resource",
			fmt.Sprintf("It has put the same image under tags of %s, and is destroyed now. This resource is updated so that they stay, or are put again.", destination.Name()))
	}
	return affected
}

// expected returns the declaration of another copy in this run that writes the source, which
// the registry does not have yet while planning.
func (e *engine) expected(source imageref.Ref, m imageCopyModel) (declaration, bool) {
	if e == nil {
		return declaration{}, false
	}
	destination, _ := m.destinationTags()
	repository := e.owners.lookup(e.canonical(source))
	if repository == nil {
		return declaration{}, false
	}
	return repository.expected(source, e.canonical(destination))
}

// checkWritable fails the plan if an image layout cannot be written because another file is in
// its place. A registry is not checked, because its permissions are unknown until the push. It
// reports whether the destination is usable.
func (p *planBuilder) checkWritable() bool {
	destination, _ := p.plan.destinationTags()
	if _, inRegistry := destination.Reference(); inRegistry || p.engine == nil {
		return true
	}
	_, err := p.engine.openDestination(destination)
	if err != nil {
		addEngineError(p.diags, path.Root("destination"), errorSummary("Destination ", err, "Unable to Read Destination"), err)
	}
	return err == nil
}

// checkTags fails the plan if a tag points to another digest and overwrite is false. It does
// not resolve tags again that Read has resolved.
func (p *planBuilder) checkTags(ctx context.Context, planned digest.Digest) {
	if p.plan.Overwrite.IsUnknown() || p.plan.Overwrite.ValueBool() {
		return
	}
	destination, tags := p.plan.destinationTags()
	observed := maps.Clone(p.record.Observed)
	if observed == nil {
		observed = map[string]digest.Digest{}
	}
	unobserved := slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { _, seen := observed[tag]; return seen })
	if len(unobserved) > 0 && p.engine.unknownSettingFor(destination) == "" {
		found, err := p.engine.resolveTags(ctx, destination, unobserved, planned)
		if err != nil {
			addEngineWarning(p.diags, path.Root("destination"), errorSummary("Destination ", err, "Unable to Read Destination"), err,
				"With overwrite = false this is asked again before anything is written.")
		}
		for tag, d := range found {
			observed[tag] = d.Digest
		}
	}
	guard := p.record.overwriteGuard(destination, !p.update)
	for _, tag := range tags {
		at := path.Root("destination")
		if tag != destination.Tag() {
			at = path.Root("additional_tags").AtSetValue(types.StringValue(tag))
		}
		if !slices.Contains(unobserved, tag) {
			logResolved(ctx, destination.Name(), tag, observed[tag], "record", nil)
		}
		if d := observed[tag]; d != "" && d != planned {
			if err := guard.checkOverwrite(tag, d); err != nil {
				addEngineError(p.diags, at, titleTagHeld, err, p.destroyAdvice()...)
			} else if p.candidate != nil {
				p.refuseOnDiscard(tag, d)
			}
		}
	}
}

// refuseOnDiscard registers an error for the plan that discards the candidate: this create moves
// a tag that only the candidate wrote, so it must not succeed if it does not replace the
// candidate. Without a candidate, checkOverwrite fails the plan of the create.
func (p *planBuilder) refuseOnDiscard(tag string, current digest.Digest) {
	source, destination := p.plan.Source.ValueString(), p.destination()
	p.candidate.onDiscard(p.diags, func(diags *diag.Diagnostics) {
		addEngineError(diags, path.Root("destination"), titleTagHeld, &registry.Error{
			Side: registry.Destination, Op: "replace the tag", Repository: destination.Name(), Reference: tag, Kind: registry.ErrTagHeld,
			Message: fmt.Sprintf("it holds %s, which the new copy of %s to %s has no record of writing, and that copy has overwrite = false", current, source, destination),
			Hint:    renameHint,
		})
	})
}

// destination returns the planned destination.
func (p *planBuilder) destination() imageref.Ref {
	destination, _ := p.plan.destinationTags()
	return destination
}
