package provider

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// validate finds what cannot work before anything is asked of a registry.
func (m providerModel) validate(ctx context.Context) diag.Diagnostics {
	var diags diag.Diagnostics
	if m.DockerConfigJSON.ValueString() != "" {
		at := path.Root("docker_config_json")
		if _, err := auth.NewStore(auth.Options{DockerConfigJSON: auth.Secret(m.DockerConfigJSON.ValueString())}); err != nil {
			addEngineError(&diags, at, "Invalid docker configuration", err,
				"docker_config_json is the content of a docker configuration file. For a file's name there is docker_config_path.")
		}
	}
	entries, entryDiags := m.entries(ctx)
	diags.Append(entryDiags...)
	seen := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		at := path.Root("registries").AtMapKey(key)
		if !validKey(&diags, at, key) {
			continue
		}
		host, prefix := splitKey(key)
		place := host + "/" + prefix
		if other, ok := seen[place]; ok {
			diags.AddAttributeError(at, "Two entries for one registry",
				fmt.Sprintf("%q and %q are the same place. Keep one of them.", other, key))
		}
		seen[place] = key
		entries[key].validate(&diags, at, key)
	}
	return diags
}

// validKey refuses keys under which nothing would ever be looked up.
func validKey(diags *diag.Diagnostics, at path.Path, key string) bool {
	const summary = "Invalid key in registries"
	if e, wrong := errors.AsType[*registry.Error](keyFault(key)); wrong {
		shown, instead := key, ""
		if u, err := url.Parse(key); err == nil && u.Host != "" { // a URL, perhaps with a password in it
			shown, instead = registry.CleanURL(u), fmt.Sprintf(" Here that is %q.", u.Host)
		}
		diags.AddAttributeError(at, summary, fmt.Sprintf("%q cannot be a key of registries: %s.%s\n\n%s%s", shown, e.Message, surrounded(key), e.Hint, instead))
		return false
	}
	host, _, _ := strings.Cut(key, "/")
	if !registry.HasHost(host + "/repository") {
		diags.AddAttributeError(at, summary, fmt.Sprintf("In a reference %q is not a registry but a repository on Docker Hub, because it has "+
			"neither a dot nor a port. Write the key as the host stands in references, such as %q or %q.",
			key, host+".example.com", host+":5000"))
		return false
	}
	return true
}

// keyFault is why the engine does not take a key of registries.
func keyFault(key string) error {
	_, err := auth.NewStore(auth.Options{Registries: map[string]auth.Credential{key: {}}})
	return err
}

// validate checks what the entry under key says in itself.
func (m registryModel) validate(diags *diag.Diagnostics, at path.Path, key string) {
	refuse := func(attribute, summary, format string, args ...any) {
		where := at
		if attribute != "" {
			where = at.AtName(attribute)
		}
		diags.AddAttributeError(where, summary, fmt.Sprintf("In registries[%q]: ", key)+fmt.Sprintf(format, args...))
	}
	m.validateCredential(refuse)
	m.validateConnection(refuse)
	m.validatePlace(refuse, key)
}

// refusal reports what is wrong with an attribute of an entry, or with the entry
// as a whole where attribute is "".
type refusal func(attribute, summary, format string, args ...any)

func (m registryModel) validateCredential(refuse refusal) {
	if !m.Username.IsNull() && m.Password.IsNull() && m.IdentityToken.IsNull() && m.RegistryToken.IsNull() {
		refuse("username", "A user name without a password",
			"the user name %q is set and nothing that proves it. Set password, or identity_token; or leave the user name out for anonymous access.", m.Username.ValueString())
	}
	if !m.Password.IsNull() && m.Username.IsNull() {
		refuse("password", "A password without a user name",
			"a password proves a user name. Set username; a token that is used as it is belongs in registry_token, an OAuth 2 refresh token in identity_token.")
	}
	for name, v := range map[string]types.String{"password": m.Password, "identity_token": m.IdentityToken, "registry_token": m.RegistryToken} {
		if !v.IsNull() && !v.IsUnknown() && v.ValueString() == "" {
			refuse(name, "An empty credential",
				"%s is set and empty. Look at the variable or secret that it comes from: is it set where Terraform runs? For anonymous access leave the credential out.", name)
		}
	}
	for _, v := range m.TokenHosts.Elements() {
		if host, ok := v.(types.String); ok && !host.IsUnknown() && (strings.Contains(host.ValueString(), "/") || keyFault(host.ValueString()) != nil) {
			refuse("token_hosts", "Not a host", "%q cannot be one of token_hosts. Write host or host:port, such as \"auth.example.com\", without scheme and path.%s",
				host.ValueString(), surrounded(host.ValueString()))
		}
	}
	given := 0
	for _, v := range []types.String{m.Password, m.IdentityToken, m.RegistryToken} {
		if !v.IsNull() {
			given++
		}
	}
	if given > 1 {
		refuse("", "More than one credential for one place",
			"an entry has one of password, identity_token and registry_token. Keep the one that the registry wants.")
	}
}

func (m registryModel) validateConnection(refuse refusal) {
	for name, pem := range map[string]types.String{"ca_certificate": m.CACertificate, "client_certificate": m.ClientCertificate} {
		if text := pem.ValueString(); text != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(text)) {
			refuse(name, "Not a certificate in PEM",
				"%s holds no certificate in PEM (-----BEGIN CERTIFICATE-----). For a file write %s = file(\"…\"): the attribute is the content, not the name.", name, name)
		}
	}
	if m.ClientCertificate.IsNull() != m.ClientKey.IsNull() {
		refuse("", "Half of a client certificate", "client_certificate and client_key belong together: set both or none.")
	}
	if n := m.MaxConcurrentRequests; !n.IsNull() && !n.IsUnknown() && n.ValueInt64() < 2 {
		refuse("max_concurrent_requests", "Too few concurrent requests",
			"max_concurrent_requests is %d. It is at least 2, because a blob that moves within one host is read and written at once. "+
				"To ask a registry slowly, set requests_per_second.", n.ValueInt64())
	}
	if r := m.RequestsPerSecond; !r.IsNull() && !r.IsUnknown() && r.ValueFloat64() <= 0 {
		refuse("requests_per_second", "No requests at all",
			"requests_per_second is %v. It is more than 0; leave it out for no limit.", r.ValueFloat64())
	}
	if m.PlainHTTP.ValueBool() && (m.InsecureSkipTLSVerify.ValueBool() || !m.CACertificate.IsNull() || !m.ClientCertificate.IsNull()) {
		refuse("plain_http", "Plain HTTP with settings for TLS",
			"with plain_http = true nothing is encrypted and no certificate is looked at. Leave it out to use TLS, or remove the settings for it.")
	}
}

// validatePlace refuses settings of a host in an entry for a part of it.
func (m registryModel) validatePlace(refuse refusal, key string) {
	host, prefix := splitKey(key)
	if prefix == "" {
		return
	}
	for name, set := range map[string]bool{
		"plain_http":               !m.PlainHTTP.IsNull(),
		"insecure_skip_tls_verify": !m.InsecureSkipTLSVerify.IsNull(),
		"ca_certificate":           !m.CACertificate.IsNull(),
		"client_certificate":       !m.ClientCertificate.IsNull(),
		"client_key":               !m.ClientKey.IsNull(),
		"max_concurrent_requests":  !m.MaxConcurrentRequests.IsNull(),
		"requests_per_second":      !m.RequestsPerSecond.IsNull(),
	} {
		if set {
			refuse(name, "A setting of a host below a prefix",
				"the key names a part of a host, and such an entry gives credentials alone. Set %s in registries[%q]: it holds for the whole host.", name, host)
		}
	}
}
