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

// imageCopyResource is registry_image_copy.
type imageCopyResource struct{ engine *engine }

var (
	_ resource.ResourceWithConfigure      = (*imageCopyResource)(nil)
	_ resource.ResourceWithValidateConfig = (*imageCopyResource)(nil)
	_ resource.ResourceWithModifyPlan     = (*imageCopyResource)(nil)
	_ resource.ResourceWithImportState    = (*imageCopyResource)(nil)
)

func newImageCopyResource() resource.Resource { return &imageCopyResource{} }

// imageCopyModel is a copy as configuration, plan and state have it.
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
	resp.ResourceBehavior.MutableIdentity = true // it follows the destination, which changes in place
}

func (r *imageCopyResource) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "An image that is promoted: what `source` names, put under the tag `destination` in another repository or registry, exactly as it is. " +
			"A whole index comes along with every platform, attestation and nested index, byte for byte, so that the digest stays the same.\n\n" +
			"The plan says which digest will be where, and `terraform apply` puts exactly that there. When the tag at the source moves, or somebody moves or removes a tag at the destination, " +
			"the next plan shows it, with the old and the new digest. " +
			"A source that cannot be asked is a warning once the image has been promoted: what is there stays.",
		Attributes: map[string]schema.Attribute{
			"source": schema.StringAttribute{
				Required:   true,
				CustomType: referenceType{},
				MarkdownDescription: "The image to promote: `host/repository:tag`, `host/repository@sha256:…`, or with both, where the digest decides. `alpine:3` is `docker.io/library/alpine:3`, " +
					"and without tag and digest the tag is `latest`. Or one in an OCI image layout on this machine, as builds leave it: `oci:PATH:tag`, `oci:PATH@sha256:…`, or `oci:PATH` where it holds but one, " +
					"with the path of a folder or of the tar archive of one; see [From and to image layouts](#from-and-to-image-layouts).\n\n" +
					"With a tag, the image is the one that the tag names when the plan is made, and that one is copied even if the tag moves before the apply. " +
					"When the resource is created or replaced, or `source` itself is changed, Terraform asks for the digest once more during the apply; if the tag has moved by then, " +
					"the apply fails with `Provider produced inconsistent final plan`, nothing is copied, and a new plan helps. Where that happens often, pin the source through " +
					"[`registry_manifest`](../data-sources/manifest.md) (`pinned_reference`), or write `tag@digest`.\n\n" +
					"An image that is built by the same configuration cannot be asked for while planning. Refer to an attribute of what builds it, so that the source is unknown until then. " +
					"One that another `registry_image_copy` puts in its place can be planned: refer to its `pinned_reference`, see [Promote in stages](#promote-in-stages).",
				PlanModifiers: []planmodifier.String{keepSpelling{}},
			},
			"destination": schema.StringAttribute{
				Required:   true,
				CustomType: referenceType{},
				MarkdownDescription: "The reference to copy to: `host/repository:tag`, such as `registry.example.com/prod/app:1.4`, or `oci:PATH:tag` in an OCI image layout on this machine. " +
					"Changing this updates the resource: it copies to the new destination first and then applies `on_destroy` to the old one, see [Change the destination](#change-the-destination). " +
					"Another spelling of the same destination plans no changes.",
				Validators:    []validator.String{isDestination{}},
				PlanModifiers: []planmodifier.String{keepSpelling{}},
			},
			"additional_tags": schema.SetAttribute{
				Optional:    true,
				ElementType: types.StringType,
				MarkdownDescription: "Further tags in the destination's repository that hold the same digest, such as `[\"stable\"]`. They are added and removed in place. " +
					"`on_destroy` applies to a tag that is removed from the list, but never deletes the manifest, see [Tag ownership](#tag-ownership).",
			},
			"platforms": schema.SetAttribute{
				Optional:    true,
				ElementType: types.StringType,
				Validators:  []validator.Set{arePlatforms{}},
				MarkdownDescription: "The platforms to promote of an index, such as `[\"linux/amd64\", \"linux/arm/v7\"]`; everything, byte for byte, where it is not set. " +
					"It is the one setting that changes the digest, and the plan shows the new one as `digest` beside `source_digest`.\n\n" +
					"One platform: its manifest is what is promoted. Several: an index with the same media type and annotations, and with the descriptors of these platforms as they are and in their order, " +
					"together with the attestation manifests that are about them. A single image is promoted as it is where its configuration says that it is for each of the platforms. " +
					"A platform that the image does not have fails the plan, which lists those that it has.\n\n" +
					"Platforms are compared as Docker does: `linux/arm64` is `linux/arm64/v8`, `linux/arm` is `linux/arm/v7`. Where an image has several versions of an operating system, " +
					"name one in parentheses: `windows(10.0.20348)/amd64`.\n\n" +
					"A signature of the whole index is about another digest than the one promoted, and does not hold for it.",
			},
			"referrers": schema.BoolAttribute{
				Optional: true,
				Computed: true,
				Default:  booldefault.StaticBool(false),
				MarkdownDescription: "Whether what refers to the image is promoted with it: signatures, SBOMs, attestations. They are found by the referrers API of the source or, where it has none, by the tag that stands for it, " +
					"and by cosign's tags `sha256-….sig`, `.att` and `.sbom`; those of every manifest in an index come along, and those of referrers themselves. " +
					"At the destination they are found in the same ways. What is there already stays: one of cosign's tags that holds a signature which the source does not have fails the apply.\n\n" +
					"A referrer that appears at the source later shows in the next plan as a new `referrers_digest`. To find that out, a refresh asks the source several questions for each manifest of the image, " +
					"also where `source` is pinned by a digest. With `false`, nothing is removed that came along before. The default is `false`.",
			},
			"referrer_types": schema.SetAttribute{
				Optional:    true,
				ElementType: types.StringType,
				Validators:  []validator.Set{areArtifactTypes{}},
				MarkdownDescription: "The artifact types of the referrers to promote, such as `[\"application/vnd.dev.cosign.artifact.sig.v1+json\"]`; all where it is not set. " +
					"A referrer's type is the `artifactType` that its manifest says, or else the media type of its configuration; what is found by one of cosign's tags is of its layers' media types too. " +
					"What refers to a referrer comes along only where that referrer does, and is of one of the types itself.",
			},
			"overwrite": schema.BoolAttribute{
				Optional: true,
				Computed: true,
				Default:  booldefault.StaticBool(true),
				MarkdownDescription: "Whether tags at the destination that this resource did not write may be moved, see [Tag ownership](#tag-ownership). " +
					"With `false`, the plan fails if such a tag holds another digest; if that is not known in the plan, the apply fails before anything is copied. Defaults to `true`.",
			},
			"on_destroy": schema.StringAttribute{
				Optional: true,
				Computed: true,
				Default:  stringdefault.StaticString(onDestroyRetain),
				MarkdownDescription: "What to remove when the resource is destroyed, and from the old destination when `destination` changes: `retain` removes nothing, " +
					"`untag` removes the tags that this resource wrote, and `delete` deletes the manifest too if nothing else in the repository names it. " +
					"The value that was applied last counts, see [Destroy behavior](#destroy-behavior). Defaults to `retain`.",
			},
			"deep_check": schema.BoolAttribute{
				Optional: true,
				Computed: true,
				Default:  booldefault.StaticBool(false),
				MarkdownDescription: "Whether a refresh makes sure that the destination still has everything below its tag, and not the tag alone: it reads each manifest and asks for each blob by `HEAD`, " +
					"and does the same for the referrers that came along. What is missing or damaged, because of a garbage collection for example, is in `missing`, and the plan repairs it from the source. The default is `false`.",
			},
			"digest": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The digest that the destination holds. Known in the plan.",
			},
			"source_digest": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The digest that the source held when it was copied. Known in the plan.",
			},
			"media_type": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The media type of the manifest, such as `application/vnd.oci.image.index.v1+json`.",
			},
			"pinned_reference": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "`host/repository@sha256:…` at the destination: what a deployment refers to so that it runs exactly this image. In an image layout it is `oci:PATH@sha256:…`, with the path as `destination` has it. Known in the plan. Outside of the configuration, as in an output, use `promoted_reference`.",
			},
			"promoted_reference": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: promotedReferenceDescription,
			},
			"referrers_digest": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "A digest over what refers to the image and came along: it changes when a referrer comes or goes. `null` without `referrers`. It is no digest of anything that can be pulled.",
			},
			"missing": schema.ListAttribute{
				Computed:            true,
				ElementType:         types.StringType,
				MarkdownDescription: "The digests of what the destination was found to lack by the last `deep_check`. The plan empties it, and the apply brings what is on it.",
			},
			"timeouts": timeoutsAttribute(),
		},
	}
}

func (r *imageCopyResource) Configure(_ context.Context, req resource.ConfigureRequest, resp *resource.ConfigureResponse) {
	var err error
	if r.engine, err = engineOf(req.ProviderData); err != nil {
		resp.Diagnostics.AddError("The provider handed over something else", err.Error())
	}
}

// ValidateConfig refuses what contradicts itself. Terraform asks again while
// planning and applying, when more is known.
func (r *imageCopyResource) ValidateConfig(ctx context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
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
		return // the attribute says so itself
	}
	var source imageref.Ref
	if m.Source.known() {
		var err error
		if source, err = m.Source.place(); err != nil {
			return // likewise
		}
	}
	source, destination = r.engine.canonical(source), r.engine.canonical(destination)
	if source.Equal(destination) {
		resp.Diagnostics.AddAttributeError(path.Root("source"), "Source and destination are the same",
			fmt.Sprintf("Both are %s: there is nothing to promote. Give the destination another tag or repository, or pin the source with a digest to hold the tag on it.", destination))
	}
	at := path.Root("additional_tags")
	for _, value := range m.AdditionalTags.Elements() {
		tag, ok := value.(types.String)
		if !ok || tag.IsUnknown() {
			continue
		}
		if problem := wrongTag(tag.ValueString(), source, destination); problem != "" {
			resp.Diagnostics.AddAttributeError(at.AtSetValue(value), "Invalid additional tag", problem)
		}
	}
}

// validateSettings checks what each setting says in itself.
func (m imageCopyModel) validateSettings(diags *diag.Diagnostics) {
	policies := []string{onDestroyRetain, onDestroyUntag, onDestroyDelete}
	if p := m.OnDestroy; !p.IsNull() && !p.IsUnknown() && !slices.Contains(policies, p.ValueString()) {
		diags.AddAttributeError(path.Root("on_destroy"), "Invalid on_destroy", fmt.Sprintf("%q is not something that a destroy can do. "+
			"Write %q to leave everything at the registry, %q to remove the tags, or %q to delete the manifest too.",
			p.ValueString(), onDestroyRetain, onDestroyUntag, onDestroyDelete))
	}
}

// wrongTag says why a tag cannot be an additional one; "" where it can.
func wrongTag(tag string, source, destination imageref.Ref) string {
	switch {
	case !registry.IsTag(tag):
		return fmt.Sprintf("%q cannot be a tag. A tag has at most 128 letters, digits, underscores, dots and dashes, and does not begin with a dot or a dash.%s", registry.Sanitize(tag), surrounded(tag))
	case tag == destination.Tag():
		return fmt.Sprintf("%q is the tag of the destination already. Take it off additional_tags.", tag)
	case destination.WithTag(tag).Equal(source):
		return fmt.Sprintf("%q is what is copied from, %s. Take it off additional_tags.", tag, source)
	}
	return ""
}

// ImportState adopts a tag by its reference. What it holds, Read finds out.
func (r *imageCopyResource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	id, diags := importID(ctx, req)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	if _, problem := parseDestination(id); problem != "" {
		resp.Diagnostics.AddError("Invalid import ID", "The ID is the destination of the copy. "+problem)
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

// additional are the additional tags that are known, sorted.
func (m imageCopyModel) additional() []string {
	var tags []string
	for _, value := range m.AdditionalTags.Elements() {
		if tag, ok := value.(types.String); ok && !tag.IsUnknown() {
			tags = append(tags, tag.ValueString())
		}
	}
	slices.Sort(tags)
	return tags
}

// additionalUnknown reports whether some of the additional tags are unknown.
func (m imageCopyModel) additionalUnknown() bool {
	return m.AdditionalTags.IsUnknown() || slices.ContainsFunc(m.AdditionalTags.Elements(), isUnknown)
}

// place is the destination, and all the tags there that are known: its own last,
// because it is to move only when everything else is in place.
func (m imageCopyModel) place() (destination imageref.Ref, tags []string) {
	destination, _ = parseDestination(m.Destination.ValueString())
	return destination, append(m.additional(), destination.Tag())
}

// withAdditional sets the additional tags, and leaves the spelling of none at
// all (null or an empty set) as it is.
func (m *imageCopyModel) withAdditional(ctx context.Context, tags []string) diag.Diagnostics {
	if slices.Equal(tags, m.additional()) {
		return nil
	}
	set, diags := types.SetValueFrom(ctx, types.StringType, tags)
	m.AdditionalTags = set
	return diags
}

// isUnknown says whether a value is not known yet.
func isUnknown(v attr.Value) bool { return v.IsUnknown() }
