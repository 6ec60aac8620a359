package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/datasource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
)

// referrersDataSource is registry_referrers.
type referrersDataSource struct{ dataSource }

var _ datasource.DataSourceWithConfigure = (*referrersDataSource)(nil)

func newReferrersDataSource() datasource.DataSource { return &referrersDataSource{} }

// referrersModel is what refers to a manifest.
type referrersModel struct {
	Reference     referenceValue  `tfsdk:"reference"`
	Platform      types.String    `tfsdk:"platform"`
	ArtifactTypes types.Set       `tfsdk:"artifact_types"`
	Digest        types.String    `tfsdk:"digest"`
	Referrers     []referrerModel `tfsdk:"referrers"`
	Timeouts      timeouts.Value  `tfsdk:"timeouts"`
}

// referrerModel is one of them.
type referrerModel struct {
	Digest          types.String      `tfsdk:"digest"`
	MediaType       types.String      `tfsdk:"media_type"`
	ArtifactType    types.String      `tfsdk:"artifact_type"`
	Size            types.Int64       `tfsdk:"size"`
	Tag             types.String      `tfsdk:"tag"`
	Annotations     map[string]string `tfsdk:"annotations"`
	PinnedReference types.String      `tfsdk:"pinned_reference"`
}

func (d *referrersDataSource) Metadata(_ context.Context, req datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_referrers"
}

func (d *referrersDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "What refers to an image: signatures, SBOMs, attestations. They are found by the referrers API of the registry or, where it has none, by the tag that stands for it, " +
			"and by cosign's tags `sha256-….sig`, `.att` and `.sbom`. Only what says itself that it refers to the image is in the list, whatever a registry lists, and what is found by one of those tags.\n\n" +
			"What refers to the manifests of an index, or to a referrer, is asked for by its digest: `data.registry_referrers.app.referrers[0].pinned_reference`. " +
			"Nothing is verified but digests: whether a signature holds, `cosign verify` says.",
		Attributes: map[string]schema.Attribute{
			"reference": referenceAttribute(),
			"platform":  platformAttribute(),
			"artifact_types": schema.SetAttribute{
				Optional:    true,
				ElementType: types.StringType,
				Validators:  []validator.Set{areArtifactTypes{}},
				MarkdownDescription: "Only those of one of these artifact types, such as `[\"application/spdx+json\"]`. A referrer's type is the `artifactType` that its manifest says, or else the media type of its configuration; " +
					"what is found by one of cosign's tags is of its layers' media types too.",
			},
			"digest": schema.StringAttribute{Computed: true, MarkdownDescription: "The digest that they refer to."},
			"referrers": schema.ListNestedAttribute{
				Computed: true,
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"digest":           schema.StringAttribute{Computed: true, MarkdownDescription: "Its digest."},
					"media_type":       schema.StringAttribute{Computed: true, MarkdownDescription: "The media type of its manifest."},
					"artifact_type":    schema.StringAttribute{Computed: true, MarkdownDescription: "What it is, such as `application/vnd.dev.cosign.artifact.sig.v1+json`: the `artifactType` that its manifest says, or else the media type of its configuration; `\"\"` of an index that says none. Of what is found by one of cosign's tags, and has an image's configuration, it is the media type of its layers, such as `application/vnd.dev.cosign.simplesigning.v1+json`."},
					"size":             schema.Int64Attribute{Computed: true, MarkdownDescription: "The size of its manifest in bytes."},
					"tag":              schema.StringAttribute{Computed: true, MarkdownDescription: "The tag by which it was found; `null` where it refers to the image itself."},
					"annotations":      schema.MapAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "Its annotations."},
					"pinned_reference": schema.StringAttribute{Computed: true, MarkdownDescription: "`host/repository@sha256:…`, to read it with `registry_manifest`."},
				}},
				MarkdownDescription: "The referrers: those that refer to the image themselves, in the order of their digests, and after those what was found by a tag, in the order of the tags. So the list changes only where something was added or removed.",
			},
			"timeouts": readTimeoutAttribute(),
		},
	}
}

func (d *referrersDataSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	ctx, cancel, configured := limitRead(ctx, req.Config, &resp.Diagnostics)
	defer cancel()
	w := d.wanted(ctx, req.Config, &resp.Diagnostics)
	model := referrersModel{Reference: w.reference, Platform: w.platform, Referrers: []referrerModel{}, Timeouts: configured}
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("artifact_types"), &model.ArtifactTypes)...)
	if resp.Diagnostics.HasError() {
		return
	}
	var said warnings
	ctx = said.collect(ctx)
	m, err := w.manifest(ctx)
	var found []copier.Referrer
	if err == nil {
		found, err = d.engine.copier.Referrers(ctx, w.repo, m.Digest, artifactTypes(model.ArtifactTypes))
	}
	said.tell(&resp.Diagnostics)
	if err != nil {
		w.failed(&resp.Diagnostics, "What refers to the image could not be found out", err)
		return
	}
	model.Digest = types.StringValue(m.Digest.String())
	for _, r := range found {
		one := referrerModel{
			Digest: types.StringValue(r.Manifest.Digest.String()), MediaType: types.StringValue(r.Manifest.MediaType), ArtifactType: types.StringValue(r.ArtifactType),
			Size: types.Int64Value(int64(len(r.Manifest.Content))), Annotations: r.Annotations, PinnedReference: types.StringValue(w.place.Pinned(r.Manifest.Digest)),
		}
		if r.Tag != "" {
			one.Tag = types.StringValue(r.Tag)
		}
		if one.Annotations == nil {
			one.Annotations = map[string]string{}
		}
		model.Referrers = append(model.Referrers, one)
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, model)...)
}
