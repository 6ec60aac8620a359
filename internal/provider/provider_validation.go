package provider

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// validate reports errors in the configuration before any request is sent.
func (m providerModel) validate(ctx context.Context) diag.Diagnostics {
	var diags diag.Diagnostics
	m.validateDockerConfig(&diags)
	entries, entryDiags := m.entries(ctx)
	diags.Append(entryDiags...)
	s, _ := m.settings(ctx)
	names := remote.Hosts(s.options.Hosts)
	seen := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		at := path.Root("registries").AtMapKey(key)
		if !validateKey(&diags, at, key) {
			continue
		}
		host, prefix := splitKey(key)
		scope := names.Canonical(host) + "/" + prefix
		if other, ok := seen[scope]; ok {
			diags.AddAttributeError(at, "Duplicate Registry Key",
				fmt.Sprintf("%q and %q are the same place. Keep one of them.", other, key))
		}
		seen[scope] = key
		entries[key].validate(&diags, at, key)
	}
	return diags
}

// validateDockerConfig reports a Docker configuration that is invalid or has no credentials. A
// missing file is only a warning: it may not exist where the configuration is validated, or
// another tool may still write it.
func (m providerModel) validateDockerConfig(diags *diag.Diagnostics) {
	file := m.DockerConfigPath.ValueString()
	if _, err := auth.NewStore(auth.Options{DockerConfigPath: &file}); err != nil {
		addEngineError(diags, path.Root("docker_config_path"), "Invalid Docker Configuration", err)
		return
	}
	if rest, below := strings.CutPrefix(file, "~"); below {
		home, _ := os.UserHomeDir()
		file = home + rest
	}
	if _, err := os.Stat(file); file != "" && errors.Is(err, fs.ErrNotExist) {
		diags.AddAttributeWarning(path.Root("docker_config_path"), "Docker Configuration Not Found",
			fmt.Sprintf("There is no file %q. A registry that wants credentials from it will fail. Correct the path, or write \"\" to use no such file at all.", m.DockerConfigPath.ValueString()))
	}
	if m.DockerConfigJSON.IsNull() || m.DockerConfigJSON.IsUnknown() {
		return
	}
	at := path.Root("docker_config_json")
	content := m.DockerConfigJSON.ValueString()
	if strings.TrimSpace(content) == "" {
		diags.AddAttributeError(at, "Empty Docker Configuration",
			"docker_config_json is set and empty. Look at the variable or secret that it comes from: is it set where Terraform runs? To do without, leave it out.")
		return
	}
	if _, err := auth.NewStore(auth.Options{DockerConfigJSON: auth.Secret(content)}); err != nil {
		addEngineError(diags, at, "Invalid Docker Configuration", err,
			"docker_config_json is the content of a docker configuration file. For a file's name there is docker_config_path.")
		return
	}
	var known struct{ Auths, CredHelpers, CredsStore json.RawMessage }
	if json.Unmarshal([]byte(content), &known) == nil && known.Auths == nil && known.CredHelpers == nil && known.CredsStore == nil {
		diags.AddAttributeWarning(at, "Docker Configuration Without Credentials",
			`docker_config_json has none of auths, credHelpers and credsStore, so that no credentials will be found in it. It looks like {"auths": {"registry.example.com": {"auth": "…"}}}.`)
	}
}

// validateKey adds an error for a key that could never match a reference. It reports whether
// the key is valid.
func validateKey(diags *diag.Diagnostics, at path.Path, key string) bool {
	const summary = "Invalid key in registries"
	if e, wrong := errors.AsType[*registry.Error](keyError(key)); wrong {
		shown, instead := registry.RedactInput(key), ""
		if u, err := url.Parse(shown); err == nil && u.Host != "" {
			instead = fmt.Sprintf(" Here that is %q.", u.Host)
		}
		if registry.HasSecret(key) {
			at = path.Root("registries") // the SDK logs the path of a diagnostic, which would contain the key
		}
		diags.AddAttributeError(at, summary, fmt.Sprintf("%q cannot be a key of registries: %s.%s\n\n%s%s", shown, e.Message, whitespaceHint(key), e.Hint, instead))
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

// keyError returns the engine's error for an invalid key of registries.
func keyError(key string) error {
	_, err := auth.NewStore(auth.Options{Registries: map[string]auth.Credential{key: {}}})
	return err
}

// validate checks the settings of the entry under key.
func (m registryModel) validate(diags *diag.Diagnostics, at path.Path, key string) {
	// Terraform finds no source line for a path inside an entry.
	addProblem := func(summary, format string, args ...any) {
		diags.AddAttributeError(at, summary, fmt.Sprintf("In registries[%q]: ", key)+fmt.Sprintf(format, args...))
	}
	m.validateCredential(addProblem)
	m.validateConnection(addProblem)
	m.validateScope(addProblem, key)
}

// problemReporter adds an error for a problem with an entry.
type problemReporter func(summary, format string, args ...any)

func (m registryModel) validateCredential(addProblem problemReporter) {
	if name, _, colon := strings.Cut(m.Username.ValueString(), ":"); colon {
		addProblem("A user name with a colon in it",
			"the user name begins with %q, and HTTP's Basic authentication ends a user name at its first colon. If a password follows it, write that as password.", name+":")
		return
	}
	if !m.Username.IsNull() && m.Password.IsNull() && m.IdentityToken.IsNull() && m.RegistryToken.IsNull() {
		addProblem("A user name without a password",
			"the user name is set and nothing that proves it. Set password, or identity_token; a token that is used as it is belongs in registry_token. For anonymous access leave the user name out.")
	}
	if !m.Password.IsNull() && m.Username.IsNull() {
		addProblem("A password without a user name",
			"a password proves a user name. Set username; a token that is used as it is belongs in registry_token, an OAuth 2 refresh token in identity_token.")
	}
	for name, v := range map[string]types.String{"password": m.Password, "identity_token": m.IdentityToken, "registry_token": m.RegistryToken} {
		if !v.IsNull() && !v.IsUnknown() && v.ValueString() == "" {
			addProblem("An empty credential",
				"%s is set and empty. Look at the variable or secret that it comes from: is it set where Terraform runs? For anonymous access leave the credential out.", name)
		}
	}
	for _, v := range m.TokenHosts.Elements() {
		if host, ok := v.(types.String); ok && !host.IsUnknown() && (strings.Contains(host.ValueString(), "/") || keyError(host.ValueString()) != nil) {
			addProblem("Not a host", "%q cannot be one of token_hosts. Write host or host:port, such as \"auth.example.com\", without scheme and path.%s",
				registry.RedactInput(host.ValueString()), whitespaceHint(host.ValueString()))
		}
	}
	given := 0
	for _, v := range []types.String{m.Password, m.IdentityToken, m.RegistryToken} {
		if !v.IsNull() {
			given++
		}
	}
	if given > 1 {
		addProblem("More than one credential for one place",
			"an entry has one of password, identity_token and registry_token. Keep the one that the registry wants.")
	}
}

func (m registryModel) validateConnection(addProblem problemReporter) {
	for name, pem := range map[string]types.String{"ca_certificate": m.CACertificate, "client_certificate": m.ClientCertificate} {
		if text := pem.ValueString(); text != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(text)) {
			addProblem("Not a certificate in PEM",
				"%s holds no certificate in PEM (-----BEGIN CERTIFICATE-----). For a file write %s = file(\"…\"): the attribute is the content, not the name.", name, name)
		}
	}
	if m.ClientCertificate.IsNull() != m.ClientKey.IsNull() {
		addProblem("Half of a client certificate", "client_certificate and client_key belong together: set both or none.")
	}
	if v := m.MaxConcurrentRequests; !v.IsNull() && !v.IsUnknown() {
		switch n := v.ValueFloat64(); {
		case n < 2:
			addProblem("Too few concurrent requests",
				"max_concurrent_requests is %v. It is at least 2, because a blob that moves within one host is read and written at once. "+
					"To ask a registry slowly, set requests_per_second.", n)
		case n != math.Trunc(n):
			addProblem("Not a whole number", "max_concurrent_requests is %v. Write a whole number, such as %v.", n, math.Trunc(n))
		}
	}
	if r := m.RequestsPerSecond; !r.IsNull() && !r.IsUnknown() && r.ValueFloat64() <= 0 {
		addProblem("No requests at all",
			"requests_per_second is %v. It is more than 0; leave it out for no limit.", r.ValueFloat64())
	}
	if m.PlainHTTP.ValueBool() && (m.InsecureSkipTLSVerify.ValueBool() || !m.CACertificate.IsNull() || !m.ClientCertificate.IsNull()) {
		addProblem("Plain HTTP with settings for TLS",
			"with plain_http = true nothing is encrypted and no certificate is looked at. Leave it out to use TLS, or remove the settings for it.")
	}
}

// validateScope reports settings of a host in an entry for a path prefix.
func (m registryModel) validateScope(addProblem problemReporter, key string) {
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
			addProblem("A setting of a host below a prefix",
				"the key names a part of a host, and such an entry gives credentials alone. Set %s in registries[%q]: it holds for the whole host.", name, host)
		}
	}
}
