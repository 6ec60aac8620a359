package provider

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// providerModel is the model of the provider configuration.
type providerModel struct {
	DockerConfigPath types.String `tfsdk:"docker_config_path"`
	DockerConfigJSON types.String `tfsdk:"docker_config_json"`
	Registries       types.Map    `tfsdk:"registries"`
}

// registryModel is the model of one entry of registries.
type registryModel struct {
	Username              types.String  `tfsdk:"username"`
	Password              types.String  `tfsdk:"password"`
	IdentityToken         types.String  `tfsdk:"identity_token"`
	RegistryToken         types.String  `tfsdk:"registry_token"`
	TokenHosts            types.Set     `tfsdk:"token_hosts"`
	PlainHTTP             types.Bool    `tfsdk:"plain_http"`
	InsecureSkipTLSVerify types.Bool    `tfsdk:"insecure_skip_tls_verify"`
	CACertificate         types.String  `tfsdk:"ca_certificate"`
	ClientCertificate     types.String  `tfsdk:"client_certificate"`
	ClientKey             types.String  `tfsdk:"client_key"`
	MaxConcurrentRequests types.Float64 `tfsdk:"max_concurrent_requests"`
	RequestsPerSecond     types.Float64 `tfsdk:"requests_per_second"`
}

// settings is the provider configuration, translated into options of the engine.
type settings struct {
	options remote.Options
	// unknown lists the settings whose values are not known yet. The options contain the
	// others.
	unknown []unknownSetting
	// secrets lists all secrets of the configuration, for redaction.
	secrets []auth.Secret
}

// unknownSetting is a setting that is known only after apply, and the references that need it.
type unknownSetting struct {
	name string // such as `registries["ghcr.io"]`
	// host and prefix select the references that need the setting. An empty host selects all.
	host, prefix string
}

// concerns reports whether operations on ref need the setting.
func (u unknownSetting) concerns(ref registry.Reference, canonical func(host string) string) bool {
	return u.host == "" || canonical(u.host) == canonical(ref.Host) &&
		(u.prefix == "" || u.prefix == ref.Repository || strings.HasPrefix(ref.Repository, u.prefix+"/"))
}

// settings translates the known part of the configuration. Settings that are not set keep the
// engine's zero value, so that the engine applies its defaults.
func (m providerModel) settings(ctx context.Context) (settings, diag.Diagnostics) {
	s := settings{options: remote.Options{
		Hosts:       map[string]remote.HostOptions{},
		Credentials: auth.Options{Registries: map[string]auth.Credential{}},
	}}
	if m.DockerConfigPath.IsUnknown() {
		s.unknown = append(s.unknown, unknownSetting{name: "docker_config_path"})
	}
	s.options.Credentials.DockerConfigPath = m.DockerConfigPath.ValueStringPointer()
	if m.DockerConfigPath.IsUnknown() {
		s.options.Credentials.DockerConfigPath = nil
	}
	if m.DockerConfigJSON.IsUnknown() {
		s.unknown = append(s.unknown, unknownSetting{name: "docker_config_json"})
	}
	s.options.Credentials.DockerConfigJSON = s.secret(m.DockerConfigJSON)
	if m.Registries.IsUnknown() {
		s.unknown = append(s.unknown, unknownSetting{name: "registries"})
	}
	entries, diags := m.entries(ctx)
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		diags.Append(s.addRegistry(ctx, key, entries[key])...)
	}
	return s, diags
}

// entries returns the entries of registries. The values of an entry that is unknown as a whole
// are unknown.
func (m providerModel) entries(ctx context.Context) (map[string]registryModel, diag.Diagnostics) {
	entries := map[string]registryModel{}
	var diags diag.Diagnostics
	for key, value := range m.Registries.Elements() {
		object, ok := value.(types.Object)
		if !ok || object.IsNull() {
			continue
		}
		var entry registryModel
		diags.Append(object.As(ctx, &entry, basetypes.ObjectAsOptions{UnhandledUnknownAsEmpty: true})...)
		if object.IsUnknown() {
			entry.Username = types.StringUnknown()
		}
		entries[key] = entry
	}
	return entries, diags
}

// addRegistry adds one entry of registries. If a value of the entry is unknown, only its
// scheme is used, because the registry would reject an incomplete credential.
func (s *settings) addRegistry(ctx context.Context, key string, m registryModel) diag.Diagnostics {
	host, prefix := splitKey(key)
	if m.hasUnknown() {
		s.unknown = append(s.unknown, unknownSetting{name: fmt.Sprintf("registries[%q]", key), host: host, prefix: prefix})
		if prefix == "" {
			s.options.Hosts[host] = remote.HostOptions{PlainHTTP: m.knownPlainHTTP()}
		}
		return nil
	}
	credential := auth.Credential{
		Username:      m.Username.ValueString(),
		Password:      auth.Secret(m.Password.ValueString()),
		IdentityToken: auth.Secret(m.IdentityToken.ValueString()),
		RegistryToken: auth.Secret(m.RegistryToken.ValueString()),
		Source:        fmt.Sprintf("registries[%q] in the provider's configuration", key),
	}
	s.secrets = append(s.secrets, credential.Secrets()...)
	diags := m.TokenHosts.ElementsAs(ctx, &credential.TokenHosts, false)
	s.options.Credentials.Registries[key] = credential
	if prefix == "" {
		s.options.Hosts[host] = remote.HostOptions{
			PlainHTTP:             m.PlainHTTP.ValueBoolPointer(),
			InsecureSkipTLSVerify: m.InsecureSkipTLSVerify.ValueBool(),
			CACertificate:         []byte(m.CACertificate.ValueString()),
			ClientCertificate:     []byte(m.ClientCertificate.ValueString()),
			ClientKey:             s.secret(m.ClientKey),
			MaxConcurrentRequests: int(min(m.MaxConcurrentRequests.ValueFloat64(), math.MaxInt32)),
			RequestsPerSecond:     m.RequestsPerSecond.ValueFloat64(),
		}
	}
	return diags
}

// secret returns a sensitive value and remembers it for redaction.
func (s *settings) secret(v types.String) auth.Secret {
	secret := auth.Secret(v.ValueString())
	if secret != "" {
		s.secrets = append(s.secrets, secret)
	}
	return secret
}

func (m registryModel) hasUnknown() bool {
	return m.Username.IsUnknown() || m.Password.IsUnknown() || m.IdentityToken.IsUnknown() || m.RegistryToken.IsUnknown() ||
		m.TokenHosts.IsUnknown() || slices.ContainsFunc(m.TokenHosts.Elements(), isUnknown) ||
		m.PlainHTTP.IsUnknown() || m.InsecureSkipTLSVerify.IsUnknown() ||
		m.CACertificate.IsUnknown() || m.ClientCertificate.IsUnknown() || m.ClientKey.IsUnknown() ||
		m.MaxConcurrentRequests.IsUnknown() || m.RequestsPerSecond.IsUnknown()
}

// knownPlainHTTP returns the plain_http setting of an entry that is not completely known. The
// default port depends on it. A TLS setting, known or not, implies HTTPS.
func (m registryModel) knownPlainHTTP() *bool {
	if m.PlainHTTP.IsUnknown() {
		return nil
	}
	if !m.PlainHTTP.IsNull() {
		return m.PlainHTTP.ValueBoolPointer()
	}
	if m.InsecureSkipTLSVerify.ValueBool() || !m.CACertificate.IsNull() || !m.ClientCertificate.IsNull() || !m.ClientKey.IsNull() {
		return new(bool)
	}
	return nil
}

// splitKey splits a key of registries into the host, in normal form, and the path prefix.
func splitKey(key string) (host, prefix string) {
	host, prefix, _ = strings.Cut(key, "/")
	if normal, err := registry.NormalHost(host); err == nil {
		host = normal
	}
	return host, prefix
}
