package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
)

// imageConfigDataSource is registry_image_config.
type imageConfigDataSource struct{ dataSource }

var _ datasource.DataSourceWithConfigure = (*imageConfigDataSource)(nil)

func newImageConfigDataSource() datasource.DataSource { return &imageConfigDataSource{} }

func (d *imageConfigDataSource) Metadata(_ context.Context, req datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_image_config"
}

func (d *imageConfigDataSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "The configuration of an image: its labels, and what a container of it runs with. No layer is read.\n\n" +
			"Each platform of an index has a configuration of its own, so that `platform` has to say which one is meant. For all of them, use `for_each` over `platforms` of `registry_manifest`, as in the example.\n\n" +
			"What a configuration says is kept in the state as it was received, as plain text: also what somebody has put into a variable of the image's environment. " +
			"What it does not say is `null`, or an empty list or map.",
		Attributes: map[string]schema.Attribute{
			"reference":        referenceAttribute(),
			"platform":         platformAttribute(),
			"digest":           schema.StringAttribute{Computed: true, MarkdownDescription: "The digest of the image's manifest; where the reference names an index, that of the manifest for `platform`."},
			"pinned_reference": schema.StringAttribute{Computed: true, MarkdownDescription: "`host/repository@sha256:…` of that manifest."},
			"config_digest":    schema.StringAttribute{Computed: true, MarkdownDescription: "The digest of the configuration; the image's ID in Docker's own image store."},
			"config_json":      schema.StringAttribute{Computed: true, MarkdownDescription: "The configuration, byte for byte. For what is not offered here: `jsondecode(data.registry_image_config.app.config_json)`."},
			"os":               schema.StringAttribute{Computed: true, MarkdownDescription: "The operating system, such as `linux`."},
			"architecture":     schema.StringAttribute{Computed: true, MarkdownDescription: "The architecture, such as `amd64`."},
			"variant":          schema.StringAttribute{Computed: true, MarkdownDescription: "The variant of the architecture, such as `v8`."},
			"os_version":       schema.StringAttribute{Computed: true, MarkdownDescription: "The version of the operating system; of Windows images alone, most of the time."},
			"created":          schema.StringAttribute{Computed: true, MarkdownDescription: "When the image was made, by its own account, as in `2026-03-01T12:00:00Z`. Images that are built reproducibly say some fixed time."},
			"author":           schema.StringAttribute{Computed: true, MarkdownDescription: "Who made it."},
			"labels":           schema.MapAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The labels: `data.registry_image_config.app.labels[\"org.opencontainers.image.revision\"]`."},
			"environment":      schema.MapAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The environment variables. The last counts of those that have one name; what has no `=` sets nothing, and is left out."},
			"entrypoint":       schema.ListAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The command that is run, in words."},
			"command":          schema.ListAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The arguments of `entrypoint` or, where that is empty, the command itself."},
			"user":             schema.StringAttribute{Computed: true, MarkdownDescription: "The user, and maybe the group, that it runs as, such as `1000:1000`; `null` is root."},
			"working_dir":      schema.StringAttribute{Computed: true, MarkdownDescription: "The directory that it starts in."},
			"exposed_ports":    schema.SetAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The ports that it says it listens on, such as `8080/tcp`."},
			"volumes":          schema.SetAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "The directories that are to be volumes."},
			"stop_signal":      schema.StringAttribute{Computed: true, MarkdownDescription: "The signal that stops it, such as `SIGTERM`."},
			"history": schema.ListNestedAttribute{
				Computed: true,
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"created":     schema.StringAttribute{Computed: true, MarkdownDescription: "When the step was made."},
					"created_by":  schema.StringAttribute{Computed: true, MarkdownDescription: "The command that made it."},
					"author":      schema.StringAttribute{Computed: true, MarkdownDescription: "Who made it."},
					"comment":     schema.StringAttribute{Computed: true, MarkdownDescription: "What there is to say about it."},
					"empty_layer": schema.BoolAttribute{Computed: true, MarkdownDescription: "Whether it made no layer."},
				}},
				MarkdownDescription: "How the image was made, the oldest step first.",
			},
			"timeouts": readTimeoutAttribute(),
		},
	}
}

func (d *imageConfigDataSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	ctx, cancel, configured := limitRead(ctx, req.Config, &resp.Diagnostics)
	defer cancel()
	w := d.wanted(ctx, req.Config, &resp.Diagnostics)
	if resp.Diagnostics.HasError() {
		return
	}
	var said warnings
	ctx = said.collect(ctx)
	m, err := w.manifest(ctx)
	var config registry.ImageConfig
	if err == nil {
		config, err = copier.ImageConfig(ctx, w.repo, m)
	}
	said.tell(&resp.Diagnostics)
	if err != nil {
		w.failed(&resp.Diagnostics, "The image's configuration could not be read", err)
		return
	}
	warnRespelled(&resp.Diagnostics, "config_json", config.Descriptor.Digest.String(), config.Content)
	model := newImageConfig(w.place.Pinned(m.Digest), m, config)
	model.Reference, model.Platform, model.Timeouts = w.reference, w.platform, configured
	resp.Diagnostics.Append(resp.State.Set(ctx, model)...)
}
