package provider

import (
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"golang.org/x/text/unicode/norm"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// manifestDataSource is registry_manifest.
type manifestDataSource struct{ engine *engine }

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
			"reference": schema.StringAttribute{
				Required:            true,
				CustomType:          referenceType{},
				MarkdownDescription: "The reference, such as `docker.io/library/alpine:3.20` or `ghcr.io/acme/app@sha256:…`. With a tag and a digest, the digest decides.",
			},
			"platform": schema.StringAttribute{
				Optional:   true,
				Validators: []validator.String{isPlatformName{}},
				MarkdownDescription: "A platform as `os/architecture` or `os/architecture/variant`: `linux/amd64`, `linux/arm/v7`. Of an index, the manifest for that platform is taken instead of the index; " +
					"`linux/arm64` is the same as `linux/arm64/v8`, and `linux/arm` as `linux/arm/v7`. Where there are several versions of an operating system, name one: `windows(10.0.20348)/amd64`. A single image must be for that platform. " +
					"Everything below then describes that manifest.",
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
			"subject": schema.SingleNestedAttribute{
				Computed:            true,
				Attributes:          descriptorAttributes(),
				MarkdownDescription: "What the manifest refers to, such as the image that a signature signs; `null` for most.",
			},
			"pinned_reference": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "`host/repository@sha256:…` of the manifest.",
			},
		},
	}
}

func (d *manifestDataSource) Configure(_ context.Context, req datasource.ConfigureRequest, resp *datasource.ConfigureResponse) {
	var err error
	if d.engine, err = engineOf(req.ProviderData); err != nil {
		resp.Diagnostics.AddError("The provider handed over something else", err.Error())
	}
}

func (d *manifestDataSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var reference referenceValue
	var platform types.String
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("reference"), &reference)...)
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("platform"), &platform)...)
	if resp.Diagnostics.HasError() {
		return
	}
	at := path.Root("reference")
	ref, err := reference.parse()
	if err != nil {
		resp.Diagnostics.AddAttributeError(at, "Invalid image reference", invalidReference(reference.ValueString(), err))
		return
	}
	if setting := d.engine.undecided(ref); setting != "" {
		resp.Diagnostics.AddAttributeError(at, "The registry cannot be asked yet",
			fmt.Sprintf("%s in the provider's configuration is known only after apply, and %s cannot be asked without it. "+
				"Add depends_on with the resource that it comes from to this data source, so that it is read after that.", setting, ref.Name()))
		return
	}
	var said notices
	ctx = said.listen(ctx)
	repo := d.engine.reading(ref)
	m, err := repo.GetManifest(ctx, ref.Target())
	summary, advice := title("", err, "The manifest could not be read"), untagged(reference, err)
	if err == nil && !platform.IsNull() {
		m, err = platformManifest(ctx, repo, m, platform.ValueString())
	}
	var contents registry.Contents
	if err == nil {
		contents, err = m.Parse()
	}
	said.tell(&resp.Diagnostics)
	if err != nil {
		addEngineError(&resp.Diagnostics, at, summary, registry.Masked(err, repo.Mask), advice...)
		return
	}
	model, diags := newManifest(ref, m, contents)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	model.Reference, model.Platform = reference, platform
	resp.Diagnostics.Append(resp.State.Set(ctx, model)...)
}

// newManifest describes a manifest and its contents.
func newManifest(ref registry.Reference, m registry.Manifest, contents registry.Contents) (manifestModel, diag.Diagnostics) {
	var diags diag.Diagnostics
	at := path.Root("reference")
	switch {
	case !utf8.Valid(m.Content):
		diags.AddAttributeError(at, "The manifest is no text",
			fmt.Sprintf("%s holds bytes that are not UTF-8, and Terraform's strings cannot hold those.", ref.Pinned(m.Digest)))
		return manifestModel{}, diags
	case !norm.NFC.IsNormal(m.Content):
		diags.AddAttributeWarning(at, "manifest_json is not byte for byte",
			fmt.Sprintf("%s holds text that Terraform spells in another way (Unicode normal form C) when it keeps it. Its digest is not the one of manifest_json.", ref.Pinned(m.Digest)))
	}
	return manifestModel{
		Digest:          m.Digest.String(),
		MediaType:       m.MediaType,
		ArtifactType:    orNull(contents.ArtifactType),
		Size:            int64(len(m.Content)),
		ManifestJSON:    string(m.Content),
		Annotations:     orEmpty(contents.Annotations),
		Config:          newOptionalDescriptor(contents.Config),
		Layers:          newDescriptors(contents.Layers),
		Manifests:       newDescriptors(contents.Manifests),
		Subject:         newOptionalDescriptor(contents.Subject),
		PinnedReference: ref.Pinned(m.Digest),
	}, diags
}
