package provider

import (
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// imageCopyResource implements the resource registry_image_copy.
type imageCopyResource struct{ engine *engine }

var (
	_ resource.ResourceWithConfigure      = (*imageCopyResource)(nil)
	_ resource.ResourceWithValidateConfig = (*imageCopyResource)(nil)
	_ resource.ResourceWithModifyPlan     = (*imageCopyResource)(nil)
	_ resource.ResourceWithImportState    = (*imageCopyResource)(nil)
)

func newImageCopyResource() resource.Resource { return &imageCopyResource{} }

// imageCopyModel is the model of registry_image_copy.
type imageCopyModel struct {
	Source          referenceValue `tfsdk:"source"`
	Destination     referenceValue `tfsdk:"destination"`
	AdditionalTags  types.Set      `tfsdk:"additional_tags"`
	Platforms       types.Set      `tfsdk:"platforms"`
	Referrers       types.Bool     `tfsdk:"referrers"`
	ReferrerTypes   types.Set      `tfsdk:"referrer_types"`
	Overwrite       types.Bool     `tfsdk:"overwrite"`
	OnDestroy       types.String   `tfsdk:"on_destroy"`
	DeepCheck       types.Bool     `tfsdk:"deep_check"`
	Timeouts        timeouts.Value `tfsdk:"timeouts"`
	Digest          types.String   `tfsdk:"digest"`
	SourceDigest    types.String   `tfsdk:"source_digest"`
	MediaType       types.String   `tfsdk:"media_type"`
	PinnedReference types.String   `tfsdk:"pinned_reference"`
	ReferrersDigest types.String   `tfsdk:"referrers_digest"`
	Missing         types.List     `tfsdk:"missing"`

	PromotedReference types.String `tfsdk:"promoted_reference"`
}

// The values of on_destroy.
const (
	onDestroyRetain = "retain"
	onDestroyUntag  = "untag"
	onDestroyDelete = "delete"
)

func (r *imageCopyResource) Metadata(_ context.Context, req resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_image_copy"
	resp.ResourceBehavior.MutableIdentity = true // it follows the destination, which can change in place
}

func (r *imageCopyResource) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "Copies a container image or OCI artifact from one repository to another without changing its digest. " +
			"The plan shows the digest that the destination will have, and the apply pushes exactly that content.",
		Attributes: map[string]schema.Attribute{
			"source": schema.StringAttribute{
				Required:   true,
				CustomType: referenceType{},
				MarkdownDescription: "The image to copy: `host/repository:tag` or `host/repository@sha256:…`, such as `ghcr.io/acme/app:1.4`, or `oci:PATH:tag` in an [image layout](#image-layouts). " +
					"A tag is resolved when the plan is made. If it moves before the apply, an update copies the planned digest, and a create or a changed `source` fails and copies nothing. " +
					"For an image that is built or copied by the same configuration, see [Sources that do not exist yet](#sources-that-do-not-exist-yet).",
				PlanModifiers: []planmodifier.String{spellingModifier{}},
			},
			"destination": schema.StringAttribute{
				Required:   true,
				CustomType: referenceType{},
				MarkdownDescription: "The tag to copy to: `host/repository:tag`, such as `registry.example.com/prod/app:1.4`, or `oci:PATH:tag` in an [image layout](#image-layouts). " +
					"Changing this updates the resource: it copies to the new destination first, then applies `on_destroy` to the old one, see [Change the destination](#change-the-destination). " +
					"Another spelling of the same destination plans no changes.",
				Validators:    []validator.String{destinationValidator{}},
				PlanModifiers: []planmodifier.String{spellingModifier{}},
			},
			"additional_tags": schema.SetAttribute{
				Optional:    true,
				ElementType: types.StringType,
				MarkdownDescription: "More tags for the same digest in the destination repository, such as `[\"stable\"]`. " +
					"`on_destroy` applies to a tag that is removed from the list, but never deletes its manifest, see [Tag ownership](#tag-ownership).",
			},
			"platforms": schema.SetAttribute{
				Optional:    true,
				ElementType: types.StringType,
				Validators:  []validator.Set{platformsValidator{}},
				MarkdownDescription: "The platforms of an index to copy, such as `[\"linux/amd64\", \"linux/arm64\"]`. " +
					"This changes the digest: `digest` differs from `source_digest`, see [Platforms](#platforms). " +
					"Defaults to all platforms, byte for byte.",
			},
			"referrers": schema.BoolAttribute{
				Optional: true,
				Computed: true,
				Default:  booldefault.StaticBool(false),
				MarkdownDescription: "Whether to copy referrers too: signatures, SBOMs and attestations of the image, of each manifest of an index, and of other referrers. " +
					"A refresh then also lists the referrers at the source, see [Referrers](#referrers). " +
					"Defaults to `false`.",
			},
			"referrer_types": schema.SetAttribute{
				Optional:    true,
				ElementType: types.StringType,
				Validators:  []validator.Set{artifactTypesValidator{}},
				MarkdownDescription: "The artifact types of the referrers to copy, such as `[\"application/vnd.dev.cosign.artifact.sig.v1+json\"]`. " +
					"A referrer of a referrer is only copied if both have one of the types. " +
					"Defaults to all types.",
			},
			"overwrite": schema.BoolAttribute{
				Optional: true,
				Computed: true,
				Default:  booldefault.StaticBool(true),
				MarkdownDescription: "Whether to move tags at the destination that this resource did not write, see [Tag ownership](#tag-ownership). " +
					"With `false`, the plan fails if such a tag has another digest, or the apply does before it copies anything if the digest is not known in the plan. " +
					"Defaults to `true`.",
			},
			"on_destroy": schema.StringAttribute{
				Optional: true,
				Computed: true,
				Default:  stringdefault.StaticString(onDestroyRetain),
				MarkdownDescription: "What to remove when the resource is destroyed, and from the old destination when `destination` changes: `\"retain\"` removes nothing, " +
					"`\"untag\"` removes the tags that this resource wrote, and `\"delete\"` also deletes the manifest if no other tag of the repository names it, directly or through an index. " +
					"The value that was applied last is used, see [Destroy behavior](#destroy-behavior). " +
					"Defaults to `\"retain\"`.",
			},
			"deep_check": schema.BoolAttribute{
				Optional: true,
				Computed: true,
				Default:  booldefault.StaticBool(false),
				MarkdownDescription: "Whether a refresh checks that all content below the tag exists at the destination: manifests, blobs and copied referrers. " +
					"The plan shows missing or damaged content in `missing` and copies it again. " +
					"Defaults to `false`, which only checks the tags.",
			},
			"digest": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The digest of the image at the destination, known in the plan.",
			},
			"source_digest": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The digest of the image at the source, known in the plan. It differs from `digest` if `platforms` is set.",
			},
			"media_type": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The media type of the manifest, such as `application/vnd.oci.image.index.v1+json`.",
			},
			"pinned_reference": schema.StringAttribute{
				Computed: true,
				MarkdownDescription: "The reference of the image by digest, `host/repository@sha256:…` or `oci:PATH@sha256:…`, known in the plan. " +
					"Use it in resources of the same configuration, such as deployments and the next stage, and `promoted_reference` in outputs.",
			},
			"promoted_reference": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: promotedReferenceDescription,
			},
			"referrers_digest": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "A digest of the list of copied referrers, which changes when one is added or removed. It is `null` if `referrers` is `false`, and no content has this digest.",
			},
			"missing": schema.ListAttribute{
				Computed:            true,
				ElementType:         types.StringType,
				MarkdownDescription: "The digests of the content that the last `deep_check` did not find at the destination. The plan empties the list, and the apply copies the content again.",
			},
			"timeouts": timeoutsAttribute(),
		},
	}
}

func (r *imageCopyResource) Configure(_ context.Context, req resource.ConfigureRequest, resp *resource.ConfigureResponse) {
	var err error
	if r.engine, err = engineOf(req.ProviderData); err != nil {
		resp.Diagnostics.AddError("Unexpected Provider Data Type", err.Error())
	}
}

// ValidateConfig adds errors for contradictory attributes. Terraform calls it again during plan
// and apply, when more values are known. Terraform does not plan an invalid resource, so
// ValidateConfig already keeps the tags that it lists.
func (r *imageCopyResource) ValidateConfig(ctx context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
	r.engine.keepListedTags(ctx, req.Config, &resp.Diagnostics)
	var m imageCopyModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	m.validateSettings(&resp.Diagnostics)
	m.validateReferrers(resp)
	if !m.Destination.known() {
		return
	}
	destination, problem := parseDestination(m.Destination.ValueString())
	if problem != "" {
		return // the attribute's validator reports it
	}
	var source imageref.Ref
	if m.Source.known() {
		var err error
		if source, err = m.Source.ref(); err != nil {
			return // the attribute's type reports it
		}
	}
	source, destination = r.engine.canonical(source), r.engine.canonical(destination)
	if source.Equal(destination) {
		resp.Diagnostics.AddAttributeError(path.Root("source"), "Source Equals Destination",
			fmt.Sprintf("Both are %s: there is nothing to promote. Give the destination another tag or repository, or pin the source with a digest to hold the tag on it.", destination))
	}
	at := path.Root("additional_tags")
	for _, value := range m.AdditionalTags.Elements() {
		tag, ok := value.(types.String)
		if !ok || tag.IsUnknown() {
			continue
		}
		if problem := additionalTagProblem(tag.ValueString(), source, destination); problem != "" {
			resp.Diagnostics.AddAttributeError(at.AtSetValue(value), "Invalid Additional Tag", problem)
		}
	}
}

// validateSettings checks settings that do not depend on others.
func (m imageCopyModel) validateSettings(diags *diag.Diagnostics) {
	policies := []string{onDestroyRetain, onDestroyUntag, onDestroyDelete}
	if p := m.OnDestroy; !p.IsNull() && !p.IsUnknown() && !slices.Contains(policies, p.ValueString()) {
		diags.AddAttributeError(path.Root("on_destroy"), "Invalid on_destroy Value", fmt.Sprintf("%q is not something that a destroy can do. "+
			"Write %q to leave everything at the registry, %q to remove the tags, or %q to delete the manifest too.",
			p.ValueString(), onDestroyRetain, onDestroyUntag, onDestroyDelete))
	}
}

// additionalTagProblem explains why a tag cannot be an additional tag. It returns "" if it can.
func additionalTagProblem(tag string, source, destination imageref.Ref) string {
	switch {
	case !registry.IsTag(tag):
		return fmt.Sprintf("%q cannot be a tag. A tag has at most 128 letters, digits, underscores, dots and dashes, and does not begin with a dot or a dash.%s", registry.Sanitize(tag), whitespaceHint(tag))
	case tag == destination.Tag():
		return fmt.Sprintf("%q is the tag of the destination already. Take it off additional_tags.", tag)
	case destination.WithTag(tag).Equal(source):
		return fmt.Sprintf("%q is what is copied from, %s. Take it off additional_tags.", tag, source)
	}
	return ""
}

// ImportState imports a destination by its reference. Read, which Terraform calls next, sets
// the other attributes.
func (r *imageCopyResource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	id, diags := importID(ctx, req)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	if _, problem := parseDestination(id); problem != "" {
		resp.Diagnostics.AddError("Invalid Import ID", "The ID is the destination of the copy. "+problem)
		return
	}
	for name, value := range map[string]any{
		"destination": id,
		"overwrite":   true,
		"on_destroy":  onDestroyRetain,
		"referrers":   false,
		"deep_check":  false,
	} {
		resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root(name), value)...)
	}
}

// additionalTags returns the additional tags that are known, sorted.
func (m imageCopyModel) additionalTags() []string {
	var tags []string
	for _, value := range m.AdditionalTags.Elements() {
		if tag, ok := value.(types.String); ok && !tag.IsUnknown() {
			tags = append(tags, tag.ValueString())
		}
	}
	slices.Sort(tags)
	return tags
}

// additionalTagsUnknown reports whether an additional tag is unknown.
func (m imageCopyModel) additionalTagsUnknown() bool {
	return m.AdditionalTags.IsUnknown() || slices.ContainsFunc(m.AdditionalTags.Elements(), isUnknown)
}

// destinationTags returns the destination and all known tags there. The destination's own tag
// is the last one, because it must move only when everything else is complete.
func (m imageCopyModel) destinationTags() (destination imageref.Ref, tags []string) {
	destination, _ = parseDestination(m.Destination.ValueString())
	return destination, append(m.additionalTags(), destination.Tag())
}

// setAdditionalTags sets the additional tags. An attribute without tags stays null or an empty
// set.
func (m *imageCopyModel) setAdditionalTags(ctx context.Context, tags []string) diag.Diagnostics {
	if slices.Equal(tags, m.additionalTags()) {
		return nil
	}
	set, diags := types.SetValueFrom(ctx, types.StringType, tags)
	m.AdditionalTags = set
	return diags
}

// isUnknown reports whether a value is unknown.
func isUnknown(v attr.Value) bool { return v.IsUnknown() }
