package provider

import (
	"context"
	"errors"
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
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// ModifyPlan decides which digest is to be where.
//
//   - On a destroy there is nothing to decide.
//   - While source or destination is unknown, or a setting of the provider that
//     the source needs, the computed attributes stay unknown and nobody is asked.
//   - While the source reference is the one that Read looked at, what Read found
//     is planned. Nobody is asked, so that the plan that Terraform makes again
//     during the apply is the same, wherever the tag points by then.
//   - On a create and for a changed source, what another copy of this run is to
//     put there counts. Terraform plans that one first where this one refers to
//     it, and has applied it before it plans this one again.
//   - Otherwise the source is asked then, and asked again during the apply. If
//     the two answers differ, Terraform itself fails the apply, before anything
//     is copied.
func (r *imageCopyResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		r.planDestroy(ctx, req, resp)
		return
	}
	var plan imageCopyModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	p := planBuilder{engine: r.engine, diags: &resp.Diagnostics, plan: plan}
	if !req.State.Raw.IsNull() {
		p.update = true
		resp.Diagnostics.Append(req.State.Get(ctx, &p.prior)...)
		p.record = loadRecord(ctx, req.Private, &resp.Diagnostics).orOf(p.prior)
		p.keepSpelling(ctx, &resp.Plan)
		plan = p.plan
	}
	resp.Diagnostics.Append(plan.planUnasked(ctx, &resp.Plan)...)
	if resp.Diagnostics.HasError() {
		return
	}
	p.resolvePredecessor(ctx, resp.Private)
	p.planDroppedTags(ctx)
	if resp.Diagnostics.HasError() || plan.Source.IsUnknown() || plan.Destination.IsUnknown() || plan.platformsUnknown() {
		return
	}
	timeout, diags := plan.Timeouts.Read(ctx, defaultReadTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := withTimeout(ctx, timeout, "read")
	defer cancel()
	var said warnings
	p.restoreRemoved(said.collect(ctx))
	defer p.restoreRemoved(ctx) // of what was removed before the tags were declared
	wanted := p.wanted(said.collect(ctx))
	if !resp.Diagnostics.HasError() && wanted.Digest != "" {
		p.set(wanted)
		p.planReferrers(wanted)
		p.warnSignatures(wanted)
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
		idle := p.update && resp.Plan.Raw.Equal(req.State.Raw)
		if p.declare(ctx, idle) {
			// Something has to be planned, or nobody is asked to put the tags again.
			resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("media_type"), types.StringUnknown())...)
			resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("promoted_reference"), types.StringUnknown())...)
		}
		if idle || p.writable() {
			p.checkTags(said.collect(ctx), wanted.Digest)
		}
	}
	said.tell(&resp.Diagnostics)
}

// planDestroy notes that a resource is destroyed for good, and which tags it is
// to remove then. Those that another one declares it forgets: what is private in
// this plan is what its Delete goes by. Of a deposed object Terraform plans the
// end once more while it applies, when nothing is known any more of what others
// have in place.
func (r *imageCopyResource) planDestroy(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	var state imageCopyModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	rec := loadRecord(ctx, req.Private, &resp.Diagnostics).orOf(state)
	if resp.Diagnostics.HasError() {
		return
	}
	rec.DestroyPlannedBy, rec.ReplacedBy = "unconfigured", ""
	if r.engine != nil {
		rec.DestroyPlannedBy = r.engine.run
	}
	destination, _ := parseDestination(state.Destination.ValueString())
	if state.OnDestroy.ValueString() != onDestroyRetain {
		if r.engine != nil {
			spared, _ := r.engine.claimsIn(ctx, destination).planRemoval(rec.Put, false)
			for _, tag := range spared {
				rec.forget(tag)
			}
		}
		rec.warnRetained(destination, nil, &resp.Diagnostics)
	}
	rec.save(ctx, resp.Private, &resp.Diagnostics)
}

// planBuilder makes one plan.
type planBuilder struct {
	engine *engine
	diags  *diag.Diagnostics
	plan   imageCopyModel
	// update says that there is a prior state, and a record of it.
	update bool
	prior  imageCopyModel
	record privateState
	// before is what the resource has in place, if it gets another destination, or
	// what an object has that it may replace.
	before *predecessor
}

// toBeMade is what to do about a source that is not there because it is still to
// be made.
const toBeMade = "If this configuration itself makes the image, then `source` has to depend on what makes it: refer to an attribute of that resource that is known only after apply " +
	"or, where another registry_image_copy puts it there, to the pinned_reference of that copy. If that copy belongs to another provider alias, put data \"registry_manifest\" \"between\" " +
	"{ reference = registry_image_copy.NAME.pinned_reference } between the two, and make its pinned_reference the source."

// destroyAllTheSame is for errors of the plan: terraform destroy makes one first,
// which these errors end too.
const destroyAllTheSame = "If this is in the way of a terraform destroy, use terraform destroy -refresh=false."

// destroyAdvice returns destroyAllTheSame if there is something to destroy.
func (p *planBuilder) destroyAdvice() []string {
	if !p.update {
		return nil
	}
	return []string{destroyAllTheSame}
}

// wanted is what the source holds, without a digest where that cannot be known
// yet.
func (p *planBuilder) wanted(ctx context.Context) resolvedSource {
	source, err := p.plan.Source.place()
	if err != nil {
		p.diags.AddAttributeError(path.Root("source"), "Invalid image reference", invalidReference(p.plan.Source.ValueString(), err))
		return resolvedSource{}
	}
	platforms := p.plan.platforms()
	if p.update && p.record.Wanted.is(p.engine, source, platforms) {
		logLook(ctx, source.Name(), source.Identifier(), p.record.Wanted.SourceDigest, "record", nil)
		p.warnLayoutRebuilt(ctx, source)
		return p.record.Wanted
	}
	if d, is := p.engine.expected(source, p.plan); is {
		logLook(ctx, source.Name(), source.Identifier(), d.digest, "plan", nil)
		return p.ofExpected(ctx, source, d)
	}
	if p.engine.unknownSettingFor(source) != "" {
		if len(platforms) > 0 {
			return resolvedSource{}
		}
		logLook(ctx, source.Name(), source.Identifier(), source.Digest(), "reference", nil)
		// What a digest names is known without asking.
		return resolvedSource{Source: source.String(), SourceDigest: source.Digest(), Digest: source.Digest()}
	}
	wanted, err := resolveSource(ctx, p.engine, source, platforms)
	if err != nil {
		at := path.Root("source")
		if lacksPlatform(err) {
			at = path.Root("platforms")
		}
		addEngineError(p.diags, at, errorSummary("source ", err, "Cannot find out what the source holds"), err, p.advice(err)...)
	}
	return wanted
}

// advice is what to do about a source of which a plan does not learn what it
// holds.
func (p *planBuilder) advice(err error) []string {
	advice := untagged(p.plan.Source, err)
	if mayBeCreatedLater(err) {
		advice = append(advice, toBeMade)
	}
	if p.update && !errors.Is(err, context.Canceled) { // otherwise there is nothing to destroy, or somebody has ended it
		advice = append(advice, destroyAllTheSame)
	}
	return advice
}

// warnLayoutRebuilt says where an image layout holds something else by now than what
// is planned. A build in the same run is why, most of the time: nobody can tell
// it from one that came between the plan and its apply, and there what was
// planned has to count.
func (p *planBuilder) warnLayoutRebuilt(ctx context.Context, source imageref.Ref) {
	if _, inRegistry := source.Reference(); inRegistry {
		return
	}
	planned := p.record.Wanted.SourceDigest
	now, err := resolveSource(ctx, p.engine, source, nil)
	if err != nil || now.SourceDigest == planned {
		return // what cannot be read a refresh tells
	}
	p.diags.AddAttributeWarning(path.Root("source"), "The image layout was built again",
		fmt.Sprintf("%s holds %s by now, and what was planned is %s, which it held when it was last looked at. Plan and apply again to promote what it holds now. "+
			"Where this configuration itself builds the layout, give each build a tag or a path of its own, so that source changes with it: it is then promoted in the same apply.", source, now.SourceDigest, planned))
}

// ofExpected is what is promoted of what another copy of this run is to put at
// the source. What some platforms need of that is known when it is there, which
// it is when Terraform plans again during the apply.
func (p *planBuilder) ofExpected(ctx context.Context, source imageref.Ref, d declaration) resolvedSource {
	platforms := p.plan.platforms()
	if len(platforms) == 0 {
		return resolvedSource{Source: source.String(), SourceDigest: d.digest, Digest: d.digest, MediaType: d.mediaType}
	}
	wanted, err := resolveSource(ctx, p.engine, source.WithDigest(d.digest), platforms)
	if err != nil {
		return resolvedSource{}
	}
	wanted.Source = source.String()
	return wanted
}

// resolveSource asks what a source holds, and what of it the platforms need. The
// error is the source's.
func resolveSource(ctx context.Context, e *engine, source imageref.Ref, platforms []string) (resolvedSource, error) {
	r := resolvedSource{Source: source.String(), Platforms: platforms}
	repo, err := e.from(source)
	if err != nil {
		return r, err
	}
	if len(platforms) > 0 {
		found, selection, err := copier.Select(ctx, repo, source.Identifier(), platformsOf(platforms))
		logLook(ctx, source.Name(), source.Identifier(), found.Digest, "registry", err)
		r.SourceDigest, r.Digest, r.MediaType = found.Digest, selection.Root.Digest, selection.Root.MediaType
		return r, registry.WithSide(err, registry.Source)
	}
	d, err := look(ctx, repo, source.Identifier(), source.Digest())
	r.SourceDigest, r.Digest, r.MediaType = d.Digest, d.Digest, d.MediaType
	return r, registry.WithSide(err, registry.Source)
}

// warnSignatures says, where a plan makes another digest of the source's, what
// that means for those who verify it.
func (p *planBuilder) warnSignatures(wanted resolvedSource) {
	if wanted.Digest == wanted.SourceDigest || p.update && p.prior.Digest.ValueString() == wanted.Digest.String() {
		return
	}
	p.diags.AddAttributeWarning(path.Root("platforms"), "Signatures of the whole image do not hold for what is promoted",
		fmt.Sprintf("The source has the digest %s, and what these platforms need of it has the digest %s. A signature or attestation of the first says nothing of the second. "+
			"Where signatures are verified, promote the whole image, or sign what was promoted.", wanted.SourceDigest, wanted.Digest))
}

// set sets the computed attributes, each that is known.
func (p *planBuilder) set(wanted resolvedSource) {
	destination, _ := parseDestination(p.plan.Destination.ValueString())
	p.plan.Digest = types.StringValue(wanted.Digest.String())
	p.plan.SourceDigest = types.StringValue(wanted.SourceDigest.String())
	p.plan.PinnedReference = types.StringValue(destination.Pinned(wanted.Digest))
	if p.plan.Destination.Equal(p.prior.Destination) {
		p.plan.PinnedReference = spelledAs(p.prior.PinnedReference, destination.Pinned(wanted.Digest))
	}
	switch {
	case wanted.MediaType != "":
		p.plan.MediaType = types.StringValue(wanted.MediaType)
	case p.update && p.plan.Digest.Equal(p.prior.Digest):
		p.plan.MediaType = p.prior.MediaType
	default:
		p.plan.MediaType = types.StringUnknown()
	}
}

// declare notes what the tags of a copy are to hold, and of which it lets go;
// idle says that nothing else is planned. What contradicts another resource
// fails the plan. Terraform plans again while it applies, so that what was
// unknown before is declared then. It says whether tags that are in place have
// to be put again, because another resource is to remove them.
func (p *planBuilder) declare(ctx context.Context, idle bool) (disturbed bool) {
	if p.engine == nil { // a provider that is not configured asks nobody and promises nothing
		return false
	}
	source, _ := p.plan.Source.place() // wanted comes from it
	destination, tags := p.plan.place()
	repository := p.engine.claimsIn(ctx, destination)
	disturbed, err := repository.plan(declaration{
		source: p.engine.canonical(source), destination: p.engine.canonical(destination), platforms: p.plan.platforms(),
		digest: digest.Digest(p.plan.Digest.ValueString()), mediaType: p.plan.MediaType.ValueString(),
		referrers: p.plan.Referrers.ValueBool() && p.plan.ReferrersDigest.IsUnknown(), idle: idle,
	}, tags...)
	if err != nil {
		addEngineError(p.diags, path.Root("destination"), twoDeclare, err, p.destroyAdvice()...)
	}
	if disturbed {
		p.diags.AddAttributeWarning(path.Root("destination"), "Another resource is to remove a tag that this one has in place",
			fmt.Sprintf("It has put the same image under tags of %s, and is destroyed now. This resource is updated so that they stay, or are put again.", destination.Name()))
	}
	return disturbed
}

// expected is what another copy of this run is to put where source is, which
// the registry does not know yet while planning.
func (e *engine) expected(source imageref.Ref, m imageCopyModel) (declaration, bool) {
	if e == nil {
		return declaration{}, false
	}
	destination, _ := m.place()
	repository := e.claims.existing(e.canonical(source))
	if repository == nil {
		return declaration{}, false
	}
	return repository.expected(source, e.canonical(destination))
}

// writable fails the plan where an image layout cannot be written: something else
// is in its place. It is here to see, other than what a registry refuses.
func (p *planBuilder) writable() bool {
	destination, _ := p.plan.place()
	if _, inRegistry := destination.Reference(); inRegistry || p.engine == nil {
		return true
	}
	_, err := p.engine.to(destination)
	if err != nil {
		addEngineError(p.diags, path.Root("destination"), errorSummary("destination ", err, "Cannot find out what the destination holds"), err)
	}
	return err == nil
}

// checkTags fails the plan where overwrite = false is known to be violated. What
// Read saw is not asked for again.
func (p *planBuilder) checkTags(ctx context.Context, wanted digest.Digest) {
	if p.plan.Overwrite.IsUnknown() || p.plan.Overwrite.ValueBool() {
		return
	}
	destination, tags := p.plan.place()
	held := maps.Clone(p.record.Held)
	if held == nil {
		held = map[string]digest.Digest{}
	}
	unseen := slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { _, seen := held[tag]; return seen })
	if len(unseen) > 0 && p.engine.unknownSettingFor(destination) == "" {
		found, err := p.engine.held(ctx, destination, unseen, wanted)
		if err != nil {
			addEngineWarning(p.diags, path.Root("destination"), errorSummary("destination ", err, "Cannot find out what the destination holds"), err,
				"With overwrite = false this is asked again before anything is written.")
		}
		for tag, d := range found {
			held[tag] = d.Digest
		}
	}
	guard := p.record.guard(destination, !p.update)
	for _, tag := range tags {
		at := path.Root("destination")
		if tag != destination.Tag() {
			at = path.Root("additional_tags").AtSetValue(types.StringValue(tag))
		}
		if !slices.Contains(unseen, tag) {
			logLook(ctx, destination.Name(), tag, held[tag], "record", nil)
		}
		if d := held[tag]; d != "" && d != wanted {
			if err := guard.checkOverwrite(tag, d); err != nil {
				addEngineError(p.diags, at, "The tag holds something else", err, p.destroyAdvice()...)
			}
		}
	}
}
