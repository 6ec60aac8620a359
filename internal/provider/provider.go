// Package provider implements the Terraform provider: its configuration, the resource, the data
// sources and the functions. It translates between Terraform and the engine: configuration into
// options, references into repositories, results of a copy into state, and errors into
// diagnostics. All registry protocols are implemented by the engine.
package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

type registryProvider struct {
	version  string
	override []func(*remote.Options)
}

var (
	_ provider.Provider                   = (*registryProvider)(nil)
	_ provider.ProviderWithFunctions      = (*registryProvider)(nil)
	_ provider.ProviderWithValidateConfig = (*registryProvider)(nil)
)

// New returns a factory for a provider of the given version. The overrides modify the engine's
// options after everything else. Tests use them to shorten delays and to map names to
// listeners.
func New(version string, override ...func(*remote.Options)) func() provider.Provider {
	return func() provider.Provider { return &registryProvider{version: version, override: override} }
}

func (p *registryProvider) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName = "registry"
	resp.Version = p.version
}

func (p *registryProvider) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "Copies container images and OCI artifacts between registries, without changing their digests.",
		Attributes: map[string]schema.Attribute{
			"docker_config_path": schema.StringAttribute{
				Optional: true,
				MarkdownDescription: "The path of a Docker or podman configuration file to use instead of the default ones; `~` is the home directory. " +
					"Set it to `\"\"` to use no file.",
			},
			"docker_config_json": schema.StringAttribute{
				Optional:  true,
				Sensitive: true,
				MarkdownDescription: "The content of a Docker configuration file (`{\"auths\": {…}}`), for machines without a home directory. " +
					"It takes precedence over all files.",
			},
			"registries": schema.MapNestedAttribute{
				Optional: true,
				MarkdownDescription: "Credentials and settings by registry. A key is a host as in references, with its port if it has one, such as `registry.example.com`, `localhost:5000` or `docker.io`. " +
					"A key can also be a prefix of repositories, such as `registry.example.com/team-a`, for credentials only. " +
					"The longest key that matches a repository applies.",
				NestedObject: schema.NestedAttributeObject{Attributes: registryAttributes()},
			},
		},
	}
}

func registryAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		"username": schema.StringAttribute{
			Optional:            true,
			MarkdownDescription: "The user name.",
		},
		"password": schema.StringAttribute{
			Optional:            true,
			Sensitive:           true,
			MarkdownDescription: "The password or access token. It can be ephemeral.",
		},
		"identity_token": schema.StringAttribute{
			Optional:            true,
			Sensitive:           true,
			MarkdownDescription: "An OAuth 2.0 refresh token, instead of a password. The provider exchanges it for access tokens.",
		},
		"registry_token": schema.StringAttribute{
			Optional:            true,
			Sensitive:           true,
			MarkdownDescription: "A bearer token to send unchanged, instead of `username` and `password`.",
		},
		"token_hosts": schema.SetAttribute{
			Optional:    true,
			ElementType: types.StringType,
			MarkdownDescription: "More hosts (`host` or `host:port`) of token services that may receive these credentials. " +
				"Without it, credentials are only sent to the registry's own host, to hosts of the same registrable domain, and to well-known pairs such as Docker Hub's.",
		},
		"plain_http": schema.BoolAttribute{
			Optional: true,
			MarkdownDescription: "Whether to use HTTP without TLS. " +
				"Defaults to `true` for loopback hosts (`localhost`, `127.0.0.0/8`, `[::1]`) without TLS settings, and to `false` otherwise.",
		},
		"insecure_skip_tls_verify": schema.BoolAttribute{
			Optional:            true,
			MarkdownDescription: "Whether to accept any certificate of this host. Prefer `ca_certificate`. Defaults to `false`.",
		},
		"ca_certificate": schema.StringAttribute{
			Optional:            true,
			MarkdownDescription: "The certificate authority of the registry in PEM format, such as `file(\"ca.pem\")`. It is trusted for this host in addition to the system's authorities.",
		},
		"client_certificate": schema.StringAttribute{
			Optional:            true,
			MarkdownDescription: "The client certificate for this host in PEM format. Requires `client_key`.",
		},
		"client_key": schema.StringAttribute{
			Optional:            true,
			Sensitive:           true,
			MarkdownDescription: "The private key of `client_certificate` in PEM format.",
		},
		"max_concurrent_requests": schema.Float64Attribute{ // float, so that validation can report a fraction better than the framework
			Optional: true,
			MarkdownDescription: "The maximum number of concurrent requests to this host, for all resources together. " +
				"At least `2`, because a copy within one host reads and writes concurrently. Defaults to `16`.",
		},
		"requests_per_second": schema.Float64Attribute{
			Optional:            true,
			MarkdownDescription: "The maximum number of requests per second to this host, for all resources together. Defaults to no limit.",
		},
	}
}

func (p *registryProvider) ValidateConfig(ctx context.Context, req provider.ValidateConfigRequest, resp *provider.ValidateConfigResponse) {
	var m providerModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if !resp.Diagnostics.HasError() {
		resp.Diagnostics.Append(m.validate(ctx)...)
	}
}

func (p *registryProvider) Configure(ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse) {
	var m providerModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	s, diags := m.settings(ctx)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	s.options.UserAgent = "terraform-provider-registry/" + p.version
	s.options.Logger = newLogger(s.secrets)
	for _, override := range p.override {
		override(&s.options)
	}
	e, err := newEngine(s)
	if err != nil {
		addEngineError(&resp.Diagnostics, path.Root("registries"), "Invalid Provider Configuration", err)
		return
	}
	resp.ResourceData, resp.DataSourceData = e, e
}

func (p *registryProvider) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{newImageCopyResource}
}

func (p *registryProvider) DataSources(context.Context) []func() datasource.DataSource {
	return []func() datasource.DataSource{newManifestDataSource, newImageConfigDataSource, newReferrersDataSource, newTagsDataSource}
}

func (p *registryProvider) Functions(context.Context) []func() function.Function {
	return []func() function.Function{newParseReferenceFunction, newPinFunction}
}
