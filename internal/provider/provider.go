// Package provider is what Terraform sees: the provider's configuration,
// the resource, the data sources and the functions. It translates:
// configuration into the engine's options, references into repositories, what a
// copy did into state, and errors into diagnostics. What it knows of registries
// it knows through the engine.
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

// New returns what makes a provider of the given version. Each override may
// change the options that the engine is made of, last of all; tests use it to
// wait less and to map names to listeners.
func New(version string, override ...func(*remote.Options)) func() provider.Provider {
	return func() provider.Provider { return &registryProvider{version: version, override: override} }
}

func (p *registryProvider) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName = "registry"
	resp.Version = p.version
}

func (p *registryProvider) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "Promotes container images from one registry to another: every manifest and blob exactly as it is, with the digest known in the plan.\n\n" +
			"Registries that need no login, and those that `docker login` or `podman login` has logged in to, need no configuration at all. " +
			"Credentials are looked for in `registries`, then in `docker_config_json`, then in the file `docker_config_path` where that is set, and otherwise " +
			"in `config.json` in the directory `DOCKER_CONFIG` or in `~/.docker`, in the file `REGISTRY_AUTH_FILE`, or in podman's `auth.json`. The first that has one for a " +
			"registry gives it, the longest matching key wins, and credential helpers that those files name are run. What is found nowhere is asked for anonymously. " +
			"No credential is ever kept in state.",
		Attributes: map[string]schema.Attribute{
			"docker_config_path": schema.StringAttribute{
				Optional: true,
				MarkdownDescription: "A docker or podman auth file to use in place of those found in the environment; `~` is the home directory. " +
					"`\"\"` uses none of them, so that only what is configured here counts.",
			},
			"docker_config_json": schema.StringAttribute{
				Optional:  true,
				Sensitive: true,
				MarkdownDescription: "The content of a docker configuration file (`{\"auths\": {…}}`), for runners that have no home directory. " +
					"It is asked before any file, and may not be empty.",
			},
			"registries": schema.MapNestedAttribute{
				Optional: true,
				MarkdownDescription: "Credentials and settings of registries. A key is the host as it stands in references, with its port if it has one: " +
					"`registry.example.com`, `localhost:5000`, `docker.io`. The default port of the scheme may be written or left out, in keys as in references. A key may also be a host and the beginning of a repository's path, " +
					"`registry.example.com/team-a`; such an entry has credentials alone. For each repository the longest matching key counts.",
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
			MarkdownDescription: "The password, or the access token that a registry wants in its place. It may be ephemeral.",
		},
		"identity_token": schema.StringAttribute{
			Optional:            true,
			Sensitive:           true,
			MarkdownDescription: "An OAuth 2 refresh token, in place of a password. It is exchanged for access tokens.",
		},
		"registry_token": schema.StringAttribute{
			Optional:            true,
			Sensitive:           true,
			MarkdownDescription: "A bearer token that is sent as it is, in place of user name and password.",
		},
		"token_hosts": schema.SetAttribute{
			Optional:    true,
			ElementType: types.StringType,
			MarkdownDescription: "Further hosts (`host` or `host:port`) that these credentials may be sent to for a token. A registry says itself where it wants tokens to be fetched; " +
				"credentials go there without a question only on the registry's own host, on the same registrable domain, and at a few well-known pairs such as Docker Hub's.",
		},
		"plain_http": schema.BoolAttribute{
			Optional:            true,
			MarkdownDescription: "Speak HTTP without TLS. The default is `true` for loopback alone (`localhost`, `127.0.0.0/8`, `[::1]`) that has no setting for TLS, and `false` for everything else.",
		},
		"insecure_skip_tls_verify": schema.BoolAttribute{
			Optional:            true,
			MarkdownDescription: "Accept any certificate of this host. Prefer `ca_certificate`. The default is `false`.",
		},
		"ca_certificate": schema.StringAttribute{
			Optional:            true,
			MarkdownDescription: "The certificate of the authority that signed the registry's, as PEM: `file(\"ca.pem\")`. It is trusted for this host, besides the system's.",
		},
		"client_certificate": schema.StringAttribute{
			Optional:            true,
			MarkdownDescription: "A client certificate for this host, as PEM, with `client_key`.",
		},
		"client_key": schema.StringAttribute{
			Optional:            true,
			Sensitive:           true,
			MarkdownDescription: "The key of `client_certificate`, as PEM.",
		},
		"max_concurrent_requests": schema.Float64Attribute{ // a whole number, which validation says better than the framework
			Optional: true,
			MarkdownDescription: "How many requests may be under way to this host at once, over all resources. The default is `16`; at least `2`, " +
				"because a blob that moves within one host is read and written at once.",
		},
		"requests_per_second": schema.Float64Attribute{
			Optional:            true,
			MarkdownDescription: "How many requests a second are sent to this host at most, over all resources. There is no limit by default.",
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
		addEngineError(&resp.Diagnostics, path.Root("registries"), "The provider's configuration cannot be used", err)
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
