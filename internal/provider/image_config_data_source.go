package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
)

// imageConfigDataSource implements the data source registry_image_config.
type imageConfigDataSource struct{ dataSource }

var _ datasource.DataSourceWithConfigure = (*imageConfigDataSource)(nil)

func newImageConfigDataSource() datasource.DataSource { return &imageConfigDataSource{} }

func (d *imageConfigDataSource) Metadata(_ context.Context, req datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_image_config"
}

func (d *imageConfigDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "Reads the configuration of an image: its labels, environment, command and history.",
		Attributes: map[string]schema.Attribute{
			"reference":        referenceAttribute(),
			"platform":         platformAttribute(),
			"digest":           schema.StringAttribute{Computed: true, MarkdownDescription: "The digest of the image's manifest. For an index, of the manifest that `platform` selects."},
			"pinned_reference": schema.StringAttribute{Computed: true, MarkdownDescription: "The reference of that manifest by digest: `host/repository@sha256:…`."},
			"config_digest":    schema.StringAttribute{Computed: true, MarkdownDescription: "The digest of the configuration. Docker's local image store uses it as image ID."},
			"config_json":      schema.StringAttribute{Computed: true, MarkdownDescription: "The configuration, byte for byte. Use `jsondecode` to read fields that have no attribute."},
			"os":               schema.StringAttribute{Computed: true, MarkdownDescription: "The operating system, such as `linux`."},
			"architecture":     schema.StringAttribute{Computed: true, MarkdownDescription: "The architecture, such as `amd64`."},
			"variant":          schema.StringAttribute{Computed: true, MarkdownDescription: "The variant of the architecture, such as `v8`."},
			"os_version":       schema.StringAttribute{Computed: true, MarkdownDescription: "The version of the operating system. Usually only Windows images have one."},
			"created":          schema.StringAttribute{Computed: true, MarkdownDescription: "The creation time according to the image, such as `2026-03-01T12:00:00Z`. Reproducible builds set a fixed time."},
			"author":           schema.StringAttribute{Computed: true, MarkdownDescription: "The author of the image."},
			"labels":           schema.MapAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The labels, such as `data.registry_image_config.app.labels[\"org.opencontainers.image.revision\"]`."},
			"environment":      schema.MapAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The environment variables. If a name occurs more than once, the last value is used. Entries without `=` are omitted."},
			"entrypoint":       schema.ListAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The entrypoint, as a list of arguments."},
			"command":          schema.ListAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The arguments of the entrypoint, or the command if there is no entrypoint."},
			"user":             schema.StringAttribute{Computed: true, MarkdownDescription: "The user, optionally with a group, such as `1000:1000`. `null` means root."},
			"working_dir":      schema.StringAttribute{Computed: true, MarkdownDescription: "The working directory."},
			"exposed_ports":    schema.SetAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The ports that the image exposes, such as `8080/tcp`."},
			"volumes":          schema.SetAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The directories that are volumes."},
			"stop_signal":      schema.StringAttribute{Computed: true, MarkdownDescription: "The signal that stops a container, such as `SIGTERM`."},
			"history": schema.ListNestedAttribute{
				Computed: true,
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"created":     schema.StringAttribute{Computed: true, MarkdownDescription: "The time of the step."},
					"created_by":  schema.StringAttribute{Computed: true, MarkdownDescription: "The command of the step."},
					"author":      schema.StringAttribute{Computed: true, MarkdownDescription: "The author of the step."},
					"comment":     schema.StringAttribute{Computed: true, MarkdownDescription: "A comment."},
					"empty_layer": schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether the step created no layer."},
				}},
				MarkdownDescription: "The build steps, oldest first.",
			},
			"timeouts": readTimeoutAttribute(),
		},
	}
}

func (d *imageConfigDataSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	ctx, cancel, configured := withReadTimeout(ctx, req.Config, &resp.Diagnostics)
	defer cancel()
	query := d.newManifestQuery(ctx, req.Config, &resp.Diagnostics)
	if resp.Diagnostics.HasError() {
		return
	}
	var collected warnings
	ctx = collected.collect(ctx)
	m, err := query.manifest(ctx)
	var config registry.ImageConfig
	if err == nil {
		config, err = copier.ImageConfig(ctx, query.repo, m)
	}
	collected.addTo(&resp.Diagnostics)
	if err != nil {
		query.addError(&resp.Diagnostics, "Unable to Read Image Configuration", err)
		return
	}
	warnNormalized(&resp.Diagnostics, "config_json", config.Descriptor.Digest.String(), config.Content)
	model := newImageConfig(query.ref.Pinned(m.Digest), m, config)
	model.Reference, model.Platform, model.Timeouts = query.reference, query.platform, configured
	resp.Diagnostics.Append(resp.State.Set(ctx, model)...)
}
