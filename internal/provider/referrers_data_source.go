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

// referrersDataSource implements the data source registry_referrers.
type referrersDataSource struct{ dataSource }

var _ datasource.DataSourceWithConfigure = (*referrersDataSource)(nil)

func newReferrersDataSource() datasource.DataSource { return &referrersDataSource{} }

// referrersModel is the model of registry_referrers.
type referrersModel struct {
	Reference     referenceValue  `tfsdk:"reference"`
	Platform      types.String    `tfsdk:"platform"`
	ArtifactTypes types.Set       `tfsdk:"artifact_types"`
	Digest        types.String    `tfsdk:"digest"`
	Referrers     []referrerModel `tfsdk:"referrers"`
	Timeouts      timeouts.Value  `tfsdk:"timeouts"`
}

// referrerModel is the model of one referrer.
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
		MarkdownDescription: "Lists the referrers of an image: signatures, SBOMs and attestations.",
		Attributes: map[string]schema.Attribute{
			"reference": referenceAttribute(),
			"platform":  platformAttribute(),
			"artifact_types": schema.SetAttribute{
				Optional:            true,
				ElementType:         types.StringType,
				Validators:          []validator.Set{artifactTypesValidator{}},
				MarkdownDescription: "The artifact types to list, such as `[\"application/spdx+json\"]`. Defaults to all types.",
			},
			"digest": schema.StringAttribute{Computed: true, MarkdownDescription: "The digest of the image."},
			"referrers": schema.ListNestedAttribute{
				Computed: true,
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"digest":     schema.StringAttribute{Computed: true, MarkdownDescription: "The digest of the referrer."},
					"media_type": schema.StringAttribute{Computed: true, MarkdownDescription: "The media type of the referrer's manifest."},
					"artifact_type": schema.StringAttribute{Computed: true, MarkdownDescription: "The artifact type, such as `application/vnd.dev.cosign.artifact.sig.v1+json`: the `artifactType` of the manifest, or else the media type of its configuration. " +
						"For a manifest that was found by one of cosign's tags and has the configuration of an image, the media type of its layers. " +
						"`\"\"` for an index without `artifactType`."},
					"size":             schema.Int64Attribute{Computed: true, MarkdownDescription: "The size of the referrer's manifest in bytes."},
					"tag":              schema.StringAttribute{Computed: true, MarkdownDescription: "The tag by which the referrer was found, or `null` if its `subject` is the image."},
					"annotations":      schema.MapAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The annotations of the referrer."},
					"pinned_reference": schema.StringAttribute{Computed: true, MarkdownDescription: "The reference of the referrer by digest, which `registry_manifest` can read."},
				}},
				MarkdownDescription: "The referrers: first those whose `subject` is the image, sorted by digest, then those that were found by a tag, sorted by tag.",
			},
			"timeouts": readTimeoutAttribute(),
		},
	}
}

func (d *referrersDataSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	ctx, cancel, configured := withReadTimeout(ctx, req.Config, &resp.Diagnostics)
	defer cancel()
	query := d.newManifestQuery(ctx, req.Config, &resp.Diagnostics)
	model := referrersModel{Reference: query.reference, Platform: query.platform, Referrers: []referrerModel{}, Timeouts: configured}
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("artifact_types"), &model.ArtifactTypes)...)
	if resp.Diagnostics.HasError() {
		return
	}
	var collected warnings
	ctx = collected.collect(ctx)
	m, err := query.manifest(ctx)
	var found []copier.Referrer
	if err == nil {
		found, err = d.engine.copier.Referrers(ctx, query.repo, m.Digest, artifactTypes(model.ArtifactTypes))
	}
	collected.addTo(&resp.Diagnostics)
	if err != nil {
		query.addError(&resp.Diagnostics, "Unable to List Referrers", err)
		return
	}
	model.Digest = types.StringValue(m.Digest.String())
	for _, r := range found {
		one := referrerModel{
			Digest: types.StringValue(r.Manifest.Digest.String()), MediaType: types.StringValue(r.Manifest.MediaType), ArtifactType: types.StringValue(r.ArtifactType),
			Size: types.Int64Value(int64(len(r.Manifest.Content))), Annotations: r.Annotations, PinnedReference: types.StringValue(query.ref.Pinned(r.Manifest.Digest)),
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
