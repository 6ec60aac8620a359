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

// manifestDataSource is registry_manifest.
type manifestDataSource struct{ dataSource }

var _ datasource.DataSourceWithConfigure = (*manifestDataSource)(nil)

func newManifestDataSource() datasource.DataSource { return &manifestDataSource{} }

func (d *manifestDataSource) Metadata(_ context.Context, req datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_manifest"
}

func (d *manifestDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "The manifest that a reference names: its digest, its exact bytes, and what it consists of. " +
			"`pinned_reference` names this image for good, whatever the tag does later, and is a good `source` for `registry_image_copy`.\n\n" +
			"What a manifest says is kept in the state as it was received, as plain text.",
		Attributes: map[string]schema.Attribute{
			"reference": referenceAttribute(),
			"platform":  platformAttribute(),
			"allow_missing": schema.BoolAttribute{
				Optional: true,
				MarkdownDescription: "`true` says by `exists = false` that the registry does not have what `reference` names, where that is an error otherwise. It counts only where the registry itself says so, by HTTP 404. " +
					"A registry that refuses the login (many do so for what does not exist too), limits requests or does not answer stays an error, and so does an image that is there but not for `platform`. The default is `false`.",
			},
			"exists": schema.BoolAttribute{
				Computed:            true,
				MarkdownDescription: "Whether the registry has it. `false` is possible with `allow_missing` alone, and all that is read of it is then `null`.",
			},
			"digest":     schema.StringAttribute{Computed: true, MarkdownDescription: "The digest of the manifest."},
			"media_type": schema.StringAttribute{Computed: true, MarkdownDescription: "The media type that it came with."},
			"artifact_type": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The type of artifact that the manifest says it is; `null` where it says nothing.",
			},
			"size": schema.Int64Attribute{Computed: true, MarkdownDescription: "The size of the manifest itself in bytes."},
			"manifest_json": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The manifest, byte for byte. For what is not offered here: `jsondecode(data.registry_manifest.app.manifest_json)`.",
			},
			"annotations": schema.MapAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The annotations of the manifest."},
			"config": schema.SingleNestedAttribute{
				Computed:            true,
				Attributes:          descriptorAttributes(),
				MarkdownDescription: "The configuration blob; `null` for an index.",
			},
			"layers": schema.ListNestedAttribute{
				Computed:            true,
				NestedObject:        schema.NestedAttributeObject{Attributes: descriptorAttributes()},
				MarkdownDescription: "The layers, in their order; empty for an index.",
			},
			"manifests": schema.ListNestedAttribute{
				Computed:            true,
				NestedObject:        schema.NestedAttributeObject{Attributes: descriptorAttributes()},
				MarkdownDescription: "The manifests that an index lists, in their order; empty for an image.",
			},
			"platforms": schema.ListAttribute{
				Computed:    true,
				ElementType: types.StringType,
				MarkdownDescription: "The platforms of an index, in the form that `platform` has, in their order and each once; empty for an image. " +
					"`for_each = toset(data.registry_manifest.app.platforms)` does something for each of them.",
			},
			"subject": schema.SingleNestedAttribute{
				Computed:            true,
				Attributes:          descriptorAttributes(),
				MarkdownDescription: "What the manifest refers to, such as the image that a signature signs; `null` for most.",
			},
			"pinned_reference": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "`host/repository@sha256:…` of the manifest.",
			},
			"timeouts": readTimeoutAttribute(),
		},
	}
}

func (d *manifestDataSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	ctx, cancel, configured := limitRead(ctx, req.Config, &resp.Diagnostics)
	defer cancel()
	var allowMissing types.Bool
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("allow_missing"), &allowMissing)...)
	w := d.wanted(ctx, req.Config, &resp.Diagnostics)
	if resp.Diagnostics.HasError() {
		return
	}
	var said warnings
	ctx = said.collect(ctx)
	m, err := w.manifest(ctx)
	var contents registry.Contents
	if err == nil {
		contents, err = m.Parse()
	}
	said.tell(&resp.Diagnostics)
	switch {
	case allowMissing.ValueBool() && w.missing(err):
		// The state is the configuration still, in which all else is null.
		resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("exists"), false)...)
		return
	case err != nil:
		w.failed(&resp.Diagnostics, "The manifest could not be read", err)
		return
	}
	model, diags := newManifest(w.place.Pinned(m.Digest), m, contents)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	model.Reference, model.Platform, model.AllowMissing, model.Timeouts = w.reference, w.platform, allowMissing, configured
	resp.Diagnostics.Append(resp.State.Set(ctx, model)...)
}

// newManifest describes a manifest, which pinned names, and its contents.
func newManifest(pinned string, m registry.Manifest, contents registry.Contents) (manifestModel, diag.Diagnostics) {
	var diags diag.Diagnostics
	if !utf8.Valid(m.Content) {
		diags.AddAttributeError(path.Root("reference"), "The manifest is no text",
			fmt.Sprintf("%s holds bytes that are not UTF-8, and Terraform's strings cannot hold those.", pinned))
		return manifestModel{}, diags
	}
	warnRespelled(&diags, "manifest_json", pinned, m.Content)
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
