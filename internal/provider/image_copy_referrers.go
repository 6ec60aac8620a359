package provider

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// referrerTypes are the artifact types of the referrers that come along.
func (m imageCopyModel) referrerTypes() []string { return artifactTypes(m.ReferrerTypes) }

// artifactTypes are those of a set that are known, sorted; none for all.
func artifactTypes(set types.Set) []string {
	var names []string
	for _, value := range set.Elements() {
		if name, ok := value.(types.String); ok && !name.IsUnknown() {
			names = append(names, name.ValueString())
		}
	}
	slices.Sort(names)
	return names
}

// referrerTypesUnknown says whether one of them is not known yet.
func (m imageCopyModel) referrerTypesUnknown() bool {
	return m.ReferrerTypes.IsUnknown() || slices.ContainsFunc(m.ReferrerTypes.Elements(), isUnknown)
}

// findReferrers is a digest over what refers to an image at its source, and the
// manifests that do; nothing where they do not come along.
func (m imageCopyModel) findReferrers(ctx context.Context, e *engine, source imageref.Ref, found resolvedSource) (copier.Report, error) {
	if !m.Referrers.ValueBool() {
		return copier.Report{}, nil
	}
	repo, err := e.from(source)
	if err != nil {
		return copier.Report{}, err
	}
	job := copier.Job{Source: repo, Destination: repo, Digest: found.SourceDigest, ReferrerTypes: m.referrerTypes(), Referrers: true}
	if found.Digest != found.SourceDigest {
		job.Platforms = platformsOf(found.Platforms)
	}
	return e.copier.FindReferrers(ctx, job)
}

// planUnasked plans what is known without asking anybody: that nothing will be
// missing, and that nothing is said of referrers that do not come along.
func (m imageCopyModel) planUnasked(ctx context.Context, plan *tfsdk.Plan) diag.Diagnostics {
	diags := plan.SetAttribute(ctx, path.Root("missing"), listOf(ctx, nil))
	if !m.Referrers.IsUnknown() && !m.Referrers.ValueBool() {
		diags.Append(plan.SetAttribute(ctx, path.Root("referrers_digest"), types.StringNull())...)
	}
	return diags
}

// planReferrers decides whether what refers to the image has to be brought. What
// that is, the copy finds out: signatures are made at any time, and nobody pins
// them. So a change shows as a value that is not known yet.
func (p *planBuilder) planReferrers(wanted resolvedSource) {
	switch {
	case p.plan.Referrers.IsUnknown():
		p.plan.ReferrersDigest = types.StringUnknown()
	case !p.plan.Referrers.ValueBool():
		p.plan.ReferrersDigest = types.StringNull()
	case p.update && !p.leavesRepository() && p.prior.Referrers.ValueBool() && p.prior.Digest.ValueString() == wanted.Digest.String() &&
		slices.Equal(p.plan.referrerTypes(), p.prior.referrerTypes()) && !p.plan.referrerTypesUnknown() &&
		p.prior.ReferrersDigest.ValueString() == p.record.Referrers.String() && !p.moreReferrers():
		p.plan.ReferrersDigest = p.prior.ReferrersDigest
	default:
		p.plan.ReferrersDigest = types.StringUnknown()
	}
}

// moreReferrers says whether another copy of this run brings referrers to where
// this one copies from.
func (p *planBuilder) moreReferrers() bool {
	source, err := p.plan.Source.place()
	if err != nil {
		return false
	}
	d, is := p.engine.expected(source, p.plan)
	return is && d.referrers
}

// bringsReferrers says whether what refers to the image is to be brought: some of
// what is missing may be of theirs.
func (p *copyOperation) bringsReferrers() bool {
	return p.plan.Referrers.ValueBool() && (p.plan.ReferrersDigest.IsUnknown() || len(p.record.Missing) > 0)
}

// recordReferrers records what refers to the image by now, and that nothing is missing
// any more.
func (p *copyOperation) recordReferrers(ctx context.Context, report copier.Report) {
	switch {
	case !p.plan.ReferrersDigest.IsUnknown(): // what was planned counts
	case p.plan.Referrers.ValueBool():
		p.plan.ReferrersDigest = types.StringValue(report.ReferrersDigest.String())
		p.record.Referrers = report.ReferrersDigest
	default:
		p.plan.ReferrersDigest = types.StringNull()
	}
	p.plan.Missing = listOf(ctx, nil)
	p.record.Missing = nil
}

// warnOfFilter says where nothing that refers to the image is of a wanted type, and
// something is of others: a type is easily misspelt. What cannot be asked for that
// is no reason to fail.
func (p *copyOperation) warnOfFilter(ctx context.Context, job copier.Job, report copier.Report) {
	if !job.Referrers || len(job.ReferrerTypes) == 0 || len(report.Referrers) > 0 {
		return
	}
	source, err := p.plan.Source.place()
	if err != nil {
		return
	}
	repo, err := p.engine.from(source)
	if err != nil {
		return
	}
	found, err := p.engine.copier.Referrers(ctx, repo, digest.Digest(p.plan.Digest.ValueString()), nil)
	if err != nil || len(found) == 0 {
		return
	}
	types := map[string]bool{}
	for _, r := range found {
		types[registry.Sanitize(r.ArtifactType)] = true
	}
	p.diags.AddAttributeWarning(path.Root("referrer_types"), "No referrer is of these types",
		fmt.Sprintf("What refers to %s is of other types, and did not come along: %s.", p.plan.Digest.ValueString(), joinNames(slices.Sorted(maps.Keys(types)))))
}

// merged are the tags that were put before, and those that were put now.
func merged(before, now map[string]digest.Digest) map[string]digest.Digest {
	all := map[string]digest.Digest{}
	maps.Copy(all, before)
	maps.Copy(all, now)
	return all
}

// check walks what a destination holds, and what refers to it, where that is
// wanted. Its result is a list in any case: what is known of a deep check that is
// not made is that it found nothing.
func (m imageCopyModel) check(ctx context.Context, e *engine, destination imageref.Ref, now digest.Digest, referrers copier.Report) ([]digest.Digest, error) {
	if !m.DeepCheck.ValueBool() {
		return nil, nil
	}
	repo, err := e.to(destination)
	if err != nil {
		return nil, err
	}
	var came []copier.Referrer // what is new at the source is not missing here
	if referrers.ReferrersDigest.String() == m.ReferrersDigest.ValueString() {
		came = referrers.Found
	}
	return e.copier.Check(ctx, repo, now, came)
}

// sinceReferrers gives what was put into the state before there were referrers
// and deep checks their defaults, so that a newer provider plans nothing.
func (m *imageCopyModel) sinceReferrers() {
	if m.Referrers.IsNull() {
		m.Referrers = types.BoolValue(false)
	}
	if m.DeepCheck.IsNull() {
		m.DeepCheck = types.BoolValue(false)
	}
}

// listOf is a list of digests as the state has it.
func listOf(ctx context.Context, digests []digest.Digest) types.List {
	names := []string{}
	for _, d := range digests {
		names = append(names, d.String())
	}
	list, _ := types.ListValueFrom(ctx, types.StringType, names) // of strings it cannot fail
	return list
}

// validateReferrers refuses types of referrers that do not come along.
func (m imageCopyModel) validateReferrers(resp *resource.ValidateConfigResponse) {
	if m.ReferrerTypes.IsNull() || m.Referrers.IsUnknown() || m.Referrers.ValueBool() {
		return
	}
	resp.Diagnostics.AddAttributeError(path.Root("referrer_types"), "Referrers do not come along",
		"referrer_types says which referrers are promoted with the image, and none are. Set referrers = true, or remove referrer_types.")
}

// areArtifactTypes validates a set of them.
type areArtifactTypes struct{}

var _ validator.Set = areArtifactTypes{}

func (areArtifactTypes) Description(context.Context) string {
	return "must be artifact types, such as application/vnd.dev.cosign.artifact.sig.v1+json, and at least one"
}

func (v areArtifactTypes) MarkdownDescription(ctx context.Context) string { return v.Description(ctx) }

func (areArtifactTypes) ValidateSet(_ context.Context, req validator.SetRequest, resp *validator.SetResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	if len(req.ConfigValue.Elements()) == 0 {
		resp.Diagnostics.AddAttributeError(req.Path, "No artifact types", "The set is empty, and an empty filter would let nothing through. Remove it for referrers of every type.")
	}
	for _, value := range req.ConfigValue.Elements() {
		name, ok := value.(types.String)
		if !ok || name.IsUnknown() || !name.IsNull() && registry.MediaType(name.ValueString()) == name.ValueString() {
			continue
		}
		resp.Diagnostics.AddAttributeError(req.Path.AtSetValue(value), "Invalid artifact type",
			fmt.Sprintf("%q is no artifact type, which is a media type in lower case, such as application/vnd.dev.cosign.artifact.sig.v1+json or application/spdx+json.", registry.Sanitize(name.ValueString())))
	}
}
