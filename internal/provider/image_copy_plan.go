package provider

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// ModifyPlan decides which digest is to be where.
//
//   - On a destroy there is nothing to decide. On a replacement neither: Terraform
//     asks again as for a create, and that answer counts.
//   - While source or destination is unknown, or a setting of the provider that
//     the source needs, the computed attributes stay unknown and nobody is asked.
//   - While the source reference is the one that Read looked at, what Read found
//     is planned. Nobody is asked, so that the plan that Terraform makes again
//     during the apply is the same, wherever the tag points by then.
//   - On a create and for a changed source the source is asked, and asked again
//     during the apply. If the two answers differ, Terraform itself fails the
//     apply, before anything is copied.
func (r *imageCopyResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	var plan imageCopyModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	p := planner{engine: r.engine, diags: &resp.Diagnostics, plan: plan}
	if !req.State.Raw.IsNull() {
		p.update = true
		resp.Diagnostics.Append(req.State.Get(ctx, &p.prior)...)
		p.record = loadRecord(ctx, req.Private, &resp.Diagnostics)
	}
	if resp.Diagnostics.HasError() || plan.Source.IsUnknown() || plan.Destination.IsUnknown() ||
		p.update && !plan.Destination.Equal(p.prior.Destination) {
		return
	}
	timeout, diags := plan.Timeouts.Read(ctx, defaultReadTimeout)
	resp.Diagnostics.Append(diags...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var said notices
	wanted := p.wanted(said.listen(ctx))
	if !resp.Diagnostics.HasError() && wanted.Digest != "" {
		if err := r.engine.declare(p.plan, wanted.Digest); err != nil {
			addEngineError(&resp.Diagnostics, path.Root("destination"), "Two resources declare one tag", err)
		}
		p.checkTags(said.listen(ctx), wanted.Digest)
		p.set(wanted)
		for name, value := range map[string]types.String{
			"digest":           p.plan.Digest,
			"source_digest":    p.plan.SourceDigest,
			"media_type":       p.plan.MediaType,
			"pinned_reference": p.plan.PinnedReference,
		} {
			resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root(name), value)...)
		}
	}
	said.tell(&resp.Diagnostics)
}

// planner makes one plan.
type planner struct {
	engine *engine
	diags  *diag.Diagnostics
	plan   imageCopyModel
	// update says that there is a prior state, and a record of it.
	update bool
	prior  imageCopyModel
	record record
}

// wanted is what the source holds, without a digest where that cannot be known
// yet.
func (p *planner) wanted(ctx context.Context) resolved {
	source, err := p.plan.Source.parse()
	if err != nil {
		p.diags.AddAttributeError(path.Root("source"), "Invalid image reference", invalidReference(p.plan.Source.ValueString(), err))
		return resolved{}
	}
	if p.update && p.record.Wanted.Source == source.String() {
		logLook(ctx, source.Name(), source.Target(), p.record.Wanted.SourceDigest, "record", nil)
		return p.record.Wanted
	}
	if p.engine.undecided(source) != "" {
		logLook(ctx, source.Name(), source.Target(), source.Digest, "reference", nil)
		// What a digest names is known without asking.
		return resolved{Source: source.String(), SourceDigest: source.Digest, Digest: source.Digest}
	}
	wanted, err := resolveSource(ctx, p.engine, source)
	if err != nil {
		advice := untagged(p.plan.Source, err)
		if notYet(err) {
			advice = append(advice, "If this configuration itself builds the image, or the registry it comes from, then refer to an attribute of that resource in `source`: "+
				"the source is then unknown until the image is there, and the plan does not ask for it.")
		}
		addEngineError(p.diags, path.Root("source"), title("source ", err, "Cannot find out what the source holds"), err, advice...)
	}
	return wanted
}

// resolveSource asks what a source holds. The error is the source's.
func resolveSource(ctx context.Context, e *engine, source registry.Reference) (resolved, error) {
	d, err := look(ctx, e.reading(source), source.Target(), source.Digest)
	if err != nil {
		return resolved{}, registry.OnSide(err, registry.Source)
	}
	return resolved{Source: source.String(), SourceDigest: d.Digest, Digest: d.Digest, MediaType: d.MediaType}, nil
}

// set sets the computed attributes, each that is known.
func (p *planner) set(wanted resolved) {
	destination, _ := parseDestination(p.plan.Destination.ValueString())
	p.plan.Digest = types.StringValue(wanted.Digest.String())
	p.plan.SourceDigest = types.StringValue(wanted.SourceDigest.String())
	p.plan.PinnedReference = types.StringValue(destination.Pinned(wanted.Digest))
	switch {
	case wanted.MediaType != "":
		p.plan.MediaType = types.StringValue(wanted.MediaType)
	case p.update && p.plan.Digest.Equal(p.prior.Digest):
		p.plan.MediaType = p.prior.MediaType
	default:
		p.plan.MediaType = types.StringUnknown()
	}
}

// declare notes what the tags of a copy are to hold. The error says that another
// resource wants one of them to hold something else. Terraform plans again while
// it applies, so that what was unknown before is declared then.
func (e *engine) declare(m imageCopyModel, wanted digest.Digest) error {
	if e == nil { // a provider that is not configured asks nobody and promises nothing
		return nil
	}
	source, _ := m.Source.parse() // wanted comes from it
	destination, tags := m.place()
	return e.claims.of(destination.Name()).declare(declaration{source, destination, wanted}, tags...)
}

// checkTags fails the plan where overwrite = false is known to be violated. What
// Read saw is not asked for again.
func (p *planner) checkTags(ctx context.Context, wanted digest.Digest) {
	if p.plan.Overwrite.IsUnknown() || p.plan.Overwrite.ValueBool() {
		return
	}
	destination, tags := p.plan.place()
	held := maps.Clone(p.record.Held)
	if held == nil {
		held = map[string]digest.Digest{}
	}
	unseen := slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { _, seen := held[tag]; return seen })
	if len(unseen) > 0 && p.engine.undecided(destination) == "" {
		found, err := lookAtAll(ctx, p.engine.writing(destination), unseen, wanted)
		if err != nil {
			addEngineWarning(p.diags, path.Root("destination"), title("destination ", err, "Cannot find out what the destination holds"), err,
				"With overwrite = false this is asked again before anything is written.")
		}
		for tag, d := range found {
			held[tag] = d.Digest
		}
	}
	guard := guard{destination: destination, put: p.record.Put}
	for _, tag := range tags {
		at := path.Root("destination")
		if tag != destination.Tag {
			at = path.Root("additional_tags").AtSetValue(types.StringValue(tag))
		}
		if !slices.Contains(unseen, tag) {
			logLook(ctx, destination.Name(), tag, held[tag], "record", nil)
		}
		if d := held[tag]; d != "" && d != wanted {
			if err := guard.mayReplace(tag, d); err != nil {
				addEngineError(p.diags, at, "The tag holds something else", err)
			}
		}
	}
}

// guard says which tags may be moved while overwrite is false.
type guard struct {
	destination registry.Reference
	put         map[string]digest.Digest
}

// mayReplace refuses to move a tag away from what this resource did not put
// there.
func (g guard) mayReplace(tag string, held digest.Digest) error {
	if held == g.put[tag] {
		return nil
	}
	hint := "Promote to another tag, remove this one at the registry, or set overwrite = true to move it."
	if len(g.put) == 0 && tag == g.destination.Tag {
		hint += fmt.Sprintf(" Or import %s: what it holds then counts as put there by this resource, which may move it.", g.destination)
	}
	return &registry.Error{Side: registry.Destination, Op: "replace the tag", Repository: g.destination.Name(), Reference: tag, Kind: registry.ErrTagHeld,
		Message: fmt.Sprintf("it holds %s, which is not known to have been put there by this resource, and it has overwrite = false", held),
		Hint:    hint}
}
