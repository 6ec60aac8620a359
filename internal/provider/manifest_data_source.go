package provider

import (
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// manifestDataSource implements the data source registry_manifest.
type manifestDataSource struct{ dataSource }

var _ datasource.DataSourceWithConfigure = (*manifestDataSource)(nil)

func newManifestDataSource() datasource.DataSource { return &manifestDataSource{} }

func (d *manifestDataSource) Metadata(_ context.Context, req datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_manifest"
}

func (d *manifestDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "Reads a manifest from a registry or image layout: its digest, its exact bytes, and its content.",
		Attributes: map[string]schema.Attribute{
			"reference": referenceAttribute(),
			"platform":  platformAttribute(),
			"allow_missing": schema.BoolAttribute{
				Optional: true,
				MarkdownDescription: "Whether a missing image results in `exists = false` instead of an error. " +
					"Only an HTTP 404 of the registry counts as missing: a rejected login, a rate limit and a missing `platform` remain errors. " +
					"Defaults to `false`.",
			},
			"exists": schema.BoolAttribute{
				Computed:            true,
				MarkdownDescription: "Whether the registry has the image. It can only be `false` with `allow_missing`, and all other computed attributes are `null` then.",
			},
			"digest":     schema.StringAttribute{Computed: true, MarkdownDescription: "The digest of the manifest."},
			"media_type": schema.StringAttribute{Computed: true, MarkdownDescription: "The media type of the manifest."},
			"artifact_type": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The artifact type of the manifest, or `null` if it has none.",
			},
			"size": schema.Int64Attribute{Computed: true, MarkdownDescription: "The size of the manifest in bytes."},
			"manifest_json": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The manifest, byte for byte. Use `jsondecode` to read fields that have no attribute.",
			},
			"annotations": schema.MapAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The annotations of the manifest."},
			"config": schema.SingleNestedAttribute{
				Computed:            true,
				Attributes:          descriptorAttributes(),
				MarkdownDescription: "The descriptor of the configuration, or `null` for an index.",
			},
			"layers": schema.ListNestedAttribute{
				Computed:            true,
				NestedObject:        schema.NestedAttributeObject{Attributes: descriptorAttributes()},
				MarkdownDescription: "The descriptors of the layers in order. Empty for an index.",
			},
			"manifests": schema.ListNestedAttribute{
				Computed:            true,
				NestedObject:        schema.NestedAttributeObject{Attributes: descriptorAttributes()},
				MarkdownDescription: "The descriptors of the manifests of an index in order. Empty for an image.",
			},
			"platforms": schema.ListAttribute{
				Computed:    true,
				ElementType: types.StringType,
				MarkdownDescription: "The platforms of an index in order and without duplicates, in the format of `platform`. Empty for an image. " +
					"Use `toset(data.registry_manifest.app.platforms)` for `for_each`.",
			},
			"subject": schema.SingleNestedAttribute{
				Computed:            true,
				Attributes:          descriptorAttributes(),
				MarkdownDescription: "The descriptor of the manifest that this one refers to, such as the image of a signature, or `null`.",
			},
			"pinned_reference": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The reference of the manifest by digest: `host/repository@sha256:…`. Use it as the `source` of `registry_image_copy`.",
			},
			"timeouts": readTimeoutAttribute(),
		},
	}
}

func (d *manifestDataSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	ctx, cancel, configured := withReadTimeout(ctx, req.Config, &resp.Diagnostics)
	defer cancel()
	var allowMissing types.Bool
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("allow_missing"), &allowMissing)...)
	query := d.newManifestQuery(ctx, req.Config, &resp.Diagnostics)
	if resp.Diagnostics.HasError() {
		return
	}
	var collected warnings
	ctx = collected.collect(ctx)
	m, err := query.manifest(ctx)
	var contents registry.Contents
	if err == nil {
		contents, err = m.Parse()
	}
	collected.addTo(&resp.Diagnostics)
	switch {
	case allowMissing.ValueBool() && query.isMissing(err):
		// The state initially equals the configuration, so all other attributes are null.
		resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("exists"), false)...)
		return
	case err != nil:
		query.addError(&resp.Diagnostics, "Unable to Read Manifest", err)
		return
	}
	model, diags := newManifest(query.ref.Pinned(m.Digest), m, contents)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	model.Reference, model.Platform, model.AllowMissing, model.Timeouts = query.reference, query.platform, allowMissing, configured
	resp.Diagnostics.Append(resp.State.Set(ctx, model)...)
}

// newManifest returns the model of a manifest and its contents. pinned is the pinned reference
// of m.
func newManifest(pinned string, m registry.Manifest, contents registry.Contents) (manifestModel, diag.Diagnostics) {
	var diags diag.Diagnostics
	if !utf8.Valid(m.Content) {
		diags.AddAttributeError(path.Root("reference"), "Manifest Is Not Text",
			fmt.Sprintf("%s holds bytes that are not UTF-8, and Terraform's strings cannot hold those.", pinned))
		return manifestModel{}, diags
	}
	warnNormalized(&diags, "manifest_json", pinned, m.Content)
	return manifestModel{
		Exists:          true,
		Digest:          m.Digest.String(),
		MediaType:       m.MediaType,
		ArtifactType:    orNull(contents.ArtifactType),
		Size:            int64(len(m.Content)),
		ManifestJSON:    string(m.Content),
		Annotations:     orEmpty(contents.Annotations),
		Config:          newOptionalDescriptor(contents.Config),
		Layers:          newDescriptors(contents.Layers),
		Manifests:       newDescriptors(contents.Manifests),
		Platforms:       append([]string{}, registry.FormatPlatforms(contents.Manifests)...),
		Subject:         newOptionalDescriptor(contents.Subject),
		PinnedReference: pinned,
	}, diags
}
