package provider

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// configuration returns a provider configuration with the given entries of registries.
func configuration(t *testing.T, entries map[string]registryModel) providerModel {
	t.Helper()
	attributes := map[string]attr.Type{}
	for name, a := range registryAttributes() {
		attributes[name] = a.GetType()
	}
	for key, e := range entries {
		if e.TokenHosts.ElementType(t.Context()) != types.StringType {
			e.TokenHosts = types.SetNull(types.StringType)
			entries[key] = e
		}
	}
	registries, diags := types.MapValueFrom(t.Context(), types.ObjectType{AttrTypes: attributes}, entries)
	if diags.HasError() {
		t.Fatal(diags)
	}
	return providerModel{Registries: registries}
}

func str(s string) types.String { return types.StringValue(s) }

func TestSettings_AllAttributes(t *testing.T) {
	t.Parallel()
	m := configuration(t, map[string]registryModel{
		"Registry.Example.com:5000": {
			Username: str("ci"), Password: str("secret"), TokenHosts: types.SetValueMust(types.StringType, []attr.Value{str("auth.example.net")}),
			PlainHTTP: types.BoolValue(false), InsecureSkipTLSVerify: types.BoolValue(true),
			CACertificate: str("ca"), ClientCertificate: str("cert"), ClientKey: str("key"),
			MaxConcurrentRequests: types.Float64Value(4), RequestsPerSecond: types.Float64Value(0.5),
		},
		"registry.example.com/team-a": {RegistryToken: str("token")},
		"quay.io":                     {IdentityToken: str("refresh")},
	})
	m.DockerConfigPath, m.DockerConfigJSON = str(""), str(`{"auths":{}}`)
	s, diags := m.settings(t.Context())
	if diags.HasError() {
		t.Fatal(diags)
	}
	no, empty := false, ""
	want := remote.Options{
		Credentials: auth.Options{
			DockerConfigPath: &empty,
			DockerConfigJSON: `{"auths":{}}`,
			Registries: map[string]auth.Credential{
				"Registry.Example.com:5000": {
					Username: "ci", Password: "secret", TokenHosts: []string{"auth.example.net"},
					Source: `registries["Registry.Example.com:5000"] in the provider's configuration`,
				},
				"registry.example.com/team-a": {RegistryToken: "token", Source: `registries["registry.example.com/team-a"] in the provider's configuration`},
				"quay.io":                     {IdentityToken: "refresh", Source: `registries["quay.io"] in the provider's configuration`},
			},
		},
		Hosts: map[string]remote.HostOptions{
			"registry.example.com:5000": {
				PlainHTTP: &no, InsecureSkipTLSVerify: true,
				CACertificate: []byte("ca"), ClientCertificate: []byte("cert"), ClientKey: "key",
				MaxConcurrentRequests: 4, RequestsPerSecond: 0.5,
			},
			"quay.io": {CACertificate: []byte{}, ClientCertificate: []byte{}},
		},
	}
	if !reflect.DeepEqual(s.options, want) {
		t.Errorf("options =\n%#v\nwant\n%#v", s.options, want)
	}
	var secrets []string
	for _, secret := range s.secrets {
		secrets = append(secrets, secret.Reveal())
	}
	for _, secret := range []string{"secret", "key", "token", "refresh", `{"auths":{}}`} {
		if !strings.Contains(strings.Join(secrets, "\n"), secret) {
			t.Errorf("%q is not redacted", secret)
		}
	}
}

func TestSettings_UsernameIsSecret(t *testing.T) {
	t.Parallel()
	s, diags := configuration(t, map[string]registryModel{"ghcr.io": {Username: str("token-4711")}}).settings(t.Context())
	if diags.HasError() || !slices.Contains(s.secrets, "token-4711") {
		t.Errorf("the user name is not redacted: %v", diags)
	}
}

func TestSettings_Defaults(t *testing.T) {
	t.Parallel()
	s, diags := configuration(t, nil).settings(t.Context())
	want := remote.Options{Hosts: map[string]remote.HostOptions{}, Credentials: auth.Options{Registries: map[string]auth.Credential{}}}
	if diags.HasError() || !reflect.DeepEqual(s.options, want) {
		t.Errorf("options = %#v, %v", s.options, diags)
	}
}

func TestUnknownSettings(t *testing.T) {
	t.Parallel()
	m := configuration(t, map[string]registryModel{
		"ghcr.io":       {Username: str("ci"), Password: types.StringUnknown()},
		"quay.io/acme":  {RegistryToken: types.StringUnknown()},
		"docker.io":     {TokenHosts: types.SetValueMust(types.StringType, []attr.Value{types.StringUnknown()})},
		"gcr.io":        {Username: str("ci"), Password: str("secret")},
		"index.quay.io": {MaxConcurrentRequests: types.Float64Unknown()},
	})
	s, diags := m.settings(t.Context())
	if diags.HasError() {
		t.Fatal(diags)
	}
	e, err := newEngine(s)
	if err != nil {
		t.Fatal(err)
	}
	for reference, want := range map[string]string{
		"ghcr.io/acme/app":  `registries["ghcr.io"]`,
		"GHCR.IO/acme/app":  `registries["ghcr.io"]`,
		"quay.io/acme/app":  `registries["quay.io/acme"]`,
		"quay.io/acme":      `registries["quay.io/acme"]`,
		"quay.io/acmeister": "",
		"quay.io/other/app": "",
		"alpine":            `registries["docker.io"]`,
		"gcr.io/acme/app":   "",
	} {
		ref, err := registry.ParseReference(reference)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.unknownSetting(ref); got != want {
			t.Errorf("%s: unknownSetting() = %q, want %q", reference, got, want)
		}
	}
	if len(s.options.Credentials.Registries) != 1 {
		t.Errorf("partly known entries are used: %v", s.options.Credentials.Registries)
	}

	ref := registry.Reference{Host: "anywhere.example.com", Repository: "app"}
	for name, m := range map[string]providerModel{
		"registries":         {Registries: types.MapUnknown(types.StringType)},
		"docker_config_path": {DockerConfigPath: types.StringUnknown()},
		"docker_config_json": {DockerConfigJSON: types.StringUnknown()},
	} {
		s, _ := m.settings(t.Context())
		if got := (&engine{unknown: s.unknown}).unknownSetting(ref); got != name {
			t.Errorf("unknown %s: unknownSetting() = %q", name, got)
		}
		if s.options.Credentials.DockerConfigPath != nil {
			t.Errorf("unknown %s: DockerConfigPath is set", name)
		}
	}
	if (*engine)(nil).unknownSetting(ref) == "" {
		t.Error("unknownSetting() of a nil engine is empty")
	}
}

// TestUnknownSettings_HostSpellings checks that an unknown setting applies to every spelling of
// its host, with the default port of its future scheme.
func TestUnknownSettings_HostSpellings(t *testing.T) {
	t.Parallel()
	m := configuration(t, map[string]registryModel{
		"Example.com:0443":    {Password: types.StringUnknown()},
		"quay.io:443/acme":    {Password: types.StringUnknown()},
		"http.example":        {PlainHTTP: types.BoolValue(true), Password: types.StringUnknown()},
		"127.0.0.1:443":       {CACertificate: types.StringUnknown()},
		"[0:0:0:0:0:0:0:1]":   {Password: types.StringUnknown()},
		"scheme.example":      {PlainHTTP: types.BoolUnknown()},
		"bücher.example:5000": {Password: types.StringUnknown()},
	})
	spelled, diags := m.settings(t.Context())
	if diags.HasError() {
		t.Fatal(diags)
	}
	e, err := newEngine(spelled)
	if err != nil {
		t.Fatal(err)
	}
	for reference, want := range map[string]string{
		"example.com/app":                `registries["Example.com:0443"]`,
		"example.com:443/app":            `registries["Example.com:0443"]`,
		"example.com:80/app":             "",
		"quay.io/acme/app":               `registries["quay.io:443/acme"]`,
		"quay.io/other":                  "",
		"http.example:80/app":            `registries["http.example"]`,
		"http.example:443/app":           "",
		"127.0.0.1/app":                  "",
		"127.0.0.1:443/app":              `registries["127.0.0.1:443"]`,
		"[::1]:80/app":                   `registries["[0:0:0:0:0:0:0:1]"]`,
		"scheme.example:443/app":         `registries["scheme.example"]`,
		"xn--bcher-kva.example:5000/app": `registries["bücher.example:5000"]`,
	} {
		ref, err := registry.ParseReference(reference)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.unknownSetting(ref); got != want {
			t.Errorf("%s: unknownSetting() = %q, want %q", reference, got, want)
		}
	}
}

func tokenHost(host string) registryModel {
	return registryModel{TokenHosts: types.SetValueMust(types.StringType, []attr.Value{types.StringValue(host)})}
}

func TestProviderModel_Validate(t *testing.T) {
	t.Parallel()
	for contains, entries := range map[string]map[string]registryModel{
		"": {"ghcr.io": {Username: str("a"), Password: str("b")}, "quay.io": tokenHost("auth:8443"), "localhost": {}, "ghcr.io/acme": {RegistryToken: str("t")}},
		`"https://***@ghcr.io/v2/" cannot be a key of registries: the key has a scheme`: {"https://ci:s3cret@ghcr.io/v2/": {}},
		`"https://***@ghcr.io" cannot be a key of registries`:                           {"https://ci:s3/cret@ghcr.io": {}},
		`"ghcr.io/acme?***" cannot be a key of registries`:                              {"ghcr.io/acme?token=s3cret": {}},
		`"ghcr.io?***" cannot be a key of registries`:                                   {"ghcr.io?token=s3cret": {}},
		`"ghcr.io#***" cannot be a key of registries`:                                   {"ghcr.io#s3cret": {}},
		`"https://ghcr.io/?***" cannot be a key of registries`:                          {"https://ghcr.io/?token=s3cret": {}},
		`"ghcr.io?***" cannot be one of token_hosts`:                                    {"ghcr.io": tokenHost("ghcr.io?token=s3cret")},
		"the user name is set and nothing":                                              {"ghcr.io": {Username: str("s3cret")}},
		`"***@ghcr.io" cannot be a key of registries`:                                   {"ci:s3cret@ghcr.io": {}},
		`"***@ghcr.io" cannot be one of token_hosts`:                                    {"ghcr.io": tokenHost("ci:s3cret@ghcr.io")},
		`Here that is "ghcr.io:5000".`:                                                  {"https://ghcr.io:5000/v2/": {}},
		"trimspace(":                                                                    {"ghcr.io\n": {}},
		`"https://auth.ghcr.io/token" cannot be one of token_hosts`:                     {"ghcr.io": tokenHost("https://auth.ghcr.io/token")},
		`"auth.ghcr.io/token" cannot be one`:                                            {"ghcr.io": tokenHost("auth.ghcr.io/token")},
		`"*.ghcr.io" cannot be one`:                                                     {"ghcr.io": tokenHost("*.ghcr.io")},
		`"" cannot be one`:                                                              {"ghcr.io": tokenHost("")},
		`such as "registry.example.com"`:                                                {"registry": {}},
		"has a slash at the end":                                                        {"ghcr.io/": {}},
		"are the same place":                                                            {"docker.io": {}, "index.docker.io": {}},
		"nothing that proves it":                                                        {"ghcr.io": {Username: str("a")}},
		"Set username":                                                                  {"ghcr.io": {Password: str("a")}},
		"password is set and empty":                                                     {"ghcr.io": {Username: str("a"), Password: str("")}},
		"an entry has one":                                                              {"ghcr.io": {IdentityToken: str("a"), RegistryToken: str("b")}},
		`Set plain_http in registries["ghcr.io"]`:                                       {"ghcr.io/acme": {PlainHTTP: types.BoolValue(true)}},
		`ca_certificate = file("…")`:                                                    {"ghcr.io": {CACertificate: str("ca.pem")}},
		"set both or none":                                                              {"ghcr.io": {ClientKey: str("key")}},
		"max_concurrent_requests is 2.5. Write a whole number, such as 2.":              {"ghcr.io": {MaxConcurrentRequests: types.Float64Value(2.5)}},
		`the user name begins with "ci:"`:                                               {"ghcr.io": {Username: str("ci:s3cret")}},
		"max_concurrent_requests is 1":                                                  {"ghcr.io": {MaxConcurrentRequests: types.Float64Value(1)}},
		"requests_per_second is -1":                                                     {"ghcr.io": {RequestsPerSecond: types.Float64Value(-1)}},
		"requests_per_second is 0":                                                      {"ghcr.io": {RequestsPerSecond: types.Float64Value(0)}},
		"max_concurrent_requests is -3":                                                 {"ghcr.io": {MaxConcurrentRequests: types.Float64Value(-3)}},
		"nothing is encrypted":                                                          {"ghcr.io": {PlainHTTP: types.BoolValue(true), InsecureSkipTLSVerify: types.BoolValue(true)}},
		`"ghcr.io" and "ghcr.io:443" are the same place`:                                {"ghcr.io": {}, "ghcr.io:443": {}},
		`"ghcr.io/x" and "ghcr.io:0443/x" are the same place`:                           {"ghcr.io/x": {}, "ghcr.io:0443/x": {}},
		`"http.example" and "http.example:80" are the same place`:                       {"http.example": {PlainHTTP: types.BoolValue(true)}, "http.example:80": {}},
		`"127.0.0.1/x" and "[::ffff:7f00:1]:80/x"`:                                      {"127.0.0.1/x": {}, "[::ffff:7f00:1]:80/x": {}},
		`"ghcr.io." cannot be a key of registries`:                                      {"ghcr.io.": {}},
	} {
		diags := configuration(t, entries).validate(t.Context())
		if contains == "" {
			if diags.HasError() {
				t.Errorf("%v: %v", entries, diags)
			}
			continue
		}
		if len(diags) != 1 || !strings.Contains(diags[0].Detail(), contains) {
			t.Errorf("%v: %v, want %q", entries, diags, contains)
		}
		for _, d := range diags {
			if strings.Contains(strings.NewReplacer("s3/cret", "s3cret").Replace(fmt.Sprint(d)), "s3cret") {
				t.Errorf("diagnostic contains a password: %v", d)
			}
		}
	}
}

func TestProviderModel_ValidateDockerConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", filepath.Dir(file))
	t.Setenv("USERPROFILE", filepath.Dir(file))
	for name, test := range map[string]struct {
		path, json types.String
		contains   string
		severity   diag.Severity
	}{
		"neither":              {},
		"file":                 {path: str(file)},
		"home":                 {path: str("~/config.json")},
		"no_file":              {path: str("")},
		"unknown":              {path: types.StringUnknown(), json: types.StringUnknown()},
		"credentials":          {json: str(`{"auths": {}}`)},
		"helpers":              {json: str(`{"credHelpers": {}}`)},
		"store":                {json: str(`{"credsStore": "pass"}`)},
		"missing_file":         {path: str(file + ".bak"), contains: "There is no file", severity: diag.SeverityWarning},
		"missing_file_in_home": {path: str("~/elsewhere.json"), contains: `"~/elsewhere.json"`, severity: diag.SeverityWarning},
		"content_as_path":      {path: str(" {\"auths\": {\"ghcr.io\": {\"auth\": \"s3cret\"}}}"), contains: "the content of a docker configuration", severity: diag.SeverityError},
		"empty":                {json: str(" \n"), contains: "docker_config_json is set and empty", severity: diag.SeverityError},
		"path_as_content":      {json: str("~/.docker/config.json"), contains: "docker_config_path", severity: diag.SeverityError},
		"hosts_at_root":        {json: str(`{"ghcr.io": {"auth": "s3cret"}}`), contains: "none of auths, credHelpers and credsStore", severity: diag.SeverityWarning},
		"misspelled_key":       {json: str(`{"auth": {}}`), contains: "none of auths, credHelpers and credsStore", severity: diag.SeverityWarning},
	} {
		m := configuration(t, nil)
		m.DockerConfigPath, m.DockerConfigJSON = test.path, test.json
		diags := m.validate(t.Context())
		if test.contains == "" {
			if len(diags) != 0 {
				t.Errorf("%s: %v", name, diags)
			}
			continue
		}
		if len(diags) != 1 || diags[0].Severity() != test.severity || !strings.Contains(diags[0].Detail(), test.contains) || strings.Contains(diags[0].Detail(), "s3cret") {
			t.Errorf("%s: %v, want %v: %q", name, diags, test.severity, test.contains)
		}
	}
}
