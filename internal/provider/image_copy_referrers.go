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

// referrerTypes returns the artifact types of the referrers to copy.
func (m imageCopyModel) referrerTypes() []string { return artifactTypes(m.ReferrerTypes) }

// artifactTypes returns the known elements of a set of artifact types, sorted. An empty list
// means all types.
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

// referrerTypesUnknown reports whether an artifact type is unknown.
func (m imageCopyModel) referrerTypesUnknown() bool {
	return m.ReferrerTypes.IsUnknown() || slices.ContainsFunc(m.ReferrerTypes.Elements(), isUnknown)
}

// findReferrers finds the referrers of an image at its source. It returns an empty report if
// referrers are not copied.
func (m imageCopyModel) findReferrers(ctx context.Context, e *engine, source imageref.Ref, found resolvedSource) (copier.Report, error) {
	if !m.Referrers.ValueBool() {
		return copier.Report{}, nil
	}
	repo, err := e.openSource(source)
	if err != nil {
		return copier.Report{}, err
	}
	job := copier.Job{Source: repo, Destination: repo, Digest: found.SourceDigest, ReferrerTypes: m.referrerTypes(), Referrers: true}
	if found.Digest != found.SourceDigest {
		job.Platforms = platformsOf(found.Platforms)
	}
	return e.copier.FindReferrers(ctx, job)
}

// planOffline plans the values that need no request: no content will be missing, and
// referrers_digest is null if referrers are not copied.
func (m imageCopyModel) planOffline(ctx context.Context, plan *tfsdk.Plan) diag.Diagnostics {
	diags := plan.SetAttribute(ctx, path.Root("missing"), digestList(ctx, nil))
	if !m.Referrers.IsUnknown() && !m.Referrers.ValueBool() {
		diags.Append(plan.SetAttribute(ctx, path.Root("referrers_digest"), types.StringNull())...)
	}
	return diags
}

// planReferrers decides whether referrers have to be copied. If so, referrers_digest is unknown
// in the plan, because the copy finds the referrers. Signatures can be added at any time, so
// their list cannot be pinned.
func (p *planBuilder) planReferrers(resolved resolvedSource) {
	switch {
	case p.plan.Referrers.IsUnknown():
		p.plan.ReferrersDigest = types.StringUnknown()
	case !p.plan.Referrers.ValueBool():
		p.plan.ReferrersDigest = types.StringNull()
	case p.update && !p.changesRepository() && p.prior.Referrers.ValueBool() && p.prior.Digest.ValueString() == resolved.Digest.String() &&
		slices.Equal(p.plan.referrerTypes(), p.prior.referrerTypes()) && !p.plan.referrerTypesUnknown() &&
		p.prior.ReferrersDigest.ValueString() == p.record.Referrers.String() && !p.expectsReferrers():
		p.plan.ReferrersDigest = p.prior.ReferrersDigest
	default:
		p.plan.ReferrersDigest = types.StringUnknown()
	}
}

// expectsReferrers reports whether another copy of this run copies referrers to the source.
func (p *planBuilder) expectsReferrers() bool {
	source, err := p.plan.Source.ref()
	if err != nil {
		return false
	}
	d, is := p.engine.expected(source, p.plan)
	return is && d.referrers
}

// copiesReferrers reports whether the operation copies referrers. Missing content may belong to
// them.
func (p *copyOperation) copiesReferrers() bool {
	return p.plan.Referrers.ValueBool() && (p.plan.ReferrersDigest.IsUnknown() || len(p.record.Missing) > 0)
}

// recordReferrers records the referrers at the destination, and that no content is missing.
func (p *copyOperation) recordReferrers(ctx context.Context, report copier.Report) {
	switch {
	case !p.plan.ReferrersDigest.IsUnknown(): // keep the planned value
	case p.plan.Referrers.ValueBool():
		p.plan.ReferrersDigest = types.StringValue(report.ReferrersDigest.String())
		p.record.Referrers = report.ReferrersDigest
	default:
		p.plan.ReferrersDigest = types.StringNull()
	}
	p.plan.Missing = digestList(ctx, nil)
	p.record.Missing = nil
}

// warnEmptyFilter warns if no referrer has one of the configured types although there are
// others, because a type may be misspelled. Errors are ignored, because the copy has succeeded.
func (p *copyOperation) warnEmptyFilter(ctx context.Context, job copier.Job, report copier.Report) {
	if !job.Referrers || len(job.ReferrerTypes) == 0 || len(report.Referrers) > 0 {
		return
	}
	source, err := p.plan.Source.ref()
	if err != nil {
		return
	}
	repo, err := p.engine.openSource(source)
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
	p.diags.AddAttributeWarning(path.Root("referrer_types"), "No Referrers of These Types",
		fmt.Sprintf("What refers to %s is of other types, and did not come along: %s.", p.plan.Digest.ValueString(), joinNames(slices.Sorted(maps.Keys(types)))))
}

// mergeTags returns the union of both maps. Values in now take precedence.
func mergeTags(before, now map[string]digest.Digest) map[string]digest.Digest {
	all := map[string]digest.Digest{}
	maps.Copy(all, before)
	maps.Copy(all, now)
	return all
}

// findMissing performs a deep check of the destination: it walks the image and its copied
// referrers. It returns the missing content, or an empty list if deep_check is false.
func (m imageCopyModel) findMissing(ctx context.Context, e *engine, destination imageref.Ref, now digest.Digest, referrers copier.Report) ([]digest.Digest, error) {
	if !m.DeepCheck.ValueBool() {
		return nil, nil
	}
	repo, err := e.openDestination(destination)
	if err != nil {
		return nil, err
	}
	var referrerList []copier.Referrer // referrers that are new at the source are not missing yet
	if referrers.ReferrersDigest.String() == m.ReferrersDigest.ValueString() {
		referrerList = referrers.Found
	}
	return e.copier.Check(ctx, repo, now, referrerList)
}

// setReferrerDefaults sets the default values in a state from a version without referrers and
// deep_check, so that a newer provider plans no change.
func (m *imageCopyModel) setReferrerDefaults() {
	if m.Referrers.IsNull() {
		m.Referrers = types.BoolValue(false)
	}
	if m.DeepCheck.IsNull() {
		m.DeepCheck = types.BoolValue(false)
	}
}

// digestList returns digests as a Terraform list.
func digestList(ctx context.Context, digests []digest.Digest) types.List {
	names := []string{}
	for _, d := range digests {
		names = append(names, d.String())
	}
	list, _ := types.ListValueFrom(ctx, types.StringType, names) // cannot fail for strings
	return list
}

// validateReferrers adds an error if referrer_types is set but referrers are not copied.
func (m imageCopyModel) validateReferrers(resp *resource.ValidateConfigResponse) {
	if m.ReferrerTypes.IsNull() || m.Referrers.IsUnknown() || m.Referrers.ValueBool() {
		return
	}
	resp.Diagnostics.AddAttributeError(path.Root("referrer_types"), "Referrers Are Not Copied",
		"referrer_types says which referrers are promoted with the image, and none are. Set referrers = true, or remove referrer_types.")
}

// artifactTypesValidator validates a set of artifact types.
type artifactTypesValidator struct{}

var _ validator.Set = artifactTypesValidator{}

func (artifactTypesValidator) Description(context.Context) string {
	return "must be artifact types, such as application/vnd.dev.cosign.artifact.sig.v1+json, and at least one"
}

func (v artifactTypesValidator) MarkdownDescription(ctx context.Context) string {
	return v.Description(ctx)
}

func (artifactTypesValidator) ValidateSet(_ context.Context, req validator.SetRequest, resp *validator.SetResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	if len(req.ConfigValue.Elements()) == 0 {
		resp.Diagnostics.AddAttributeError(req.Path, "Empty Artifact Types", "The set is empty, and an empty filter would let nothing through. Remove it for referrers of every type.")
	}
	for _, value := range req.ConfigValue.Elements() {
		name, ok := value.(types.String)
		if !ok || name.IsUnknown() || !name.IsNull() && registry.MediaType(name.ValueString()) == name.ValueString() {
			continue
		}
		resp.Diagnostics.AddAttributeError(req.Path.AtSetValue(value), "Invalid Artifact Type",
			fmt.Sprintf("%q is no artifact type, which is a media type in lower case, such as application/vnd.dev.cosign.artifact.sig.v1+json or application/spdx+json.", registry.Sanitize(name.ValueString())))
	}
}
