package auth_test

import (
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// Whitespace around a secret is a common reason for a rejected login, and invisible.
func TestCredentialAdvice_Whitespace(t *testing.T) {
	const warning = "begins or ends with white space, such as the line break at the end of a file: trimspace(file(…))"
	for part, c := range map[string]auth.Credential{
		"The user name ":      {Username: "ci ", Password: password},
		"The password ":       {Username: "ci", Password: password + "\n"},
		"The identity token ": {IdentityToken: " " + identityToken},
		"The registry token ": {RegistryToken: registryToken + "\r\n"},
	} {
		advice := c.Advice("ghcr.io")
		if !strings.Contains(advice, part+warning) || strings.Count(advice, warning) != 1 {
			t.Errorf("Advice() = %s, want a warning about: %s", advice, part)
		}
		assertNoSecret(t, advice)
	}
	if advice := ci.Advice("ghcr.io"); strings.Contains(advice, "white space") {
		t.Errorf("Advice() = %s, want no warning", advice)
	}
}

func TestCredentialKind_Whitespace(t *testing.T) {
	for want, name := range map[string]string{`"ci "`: "ci ", `"\tci"`: "\tci", `"c\ni"`: "c\ni"} {
		if got := (auth.Credential{Username: name, Password: password}).Kind(); got != "the login of the user "+want {
			t.Errorf("Kind() = %s, want %s", got, want)
		}
	}
}

// A hint must be able to help: docker login has no effect if its file is not read.
func TestCredentialAdvice_LoginHint(t *testing.T) {
	named, none := "~/named.json", ""
	for want, path := range map[string]*string{
		`. Set registries = { "ghcr.io" = { username = "…", password = "…" } }, or run docker login ghcr.io.`:                                  nil,
		`. Set registries = { "ghcr.io" = { username = "…", password = "…" } }, or put one into ~/named.json, which docker_config_path names.`: &named,
		`. Set registries = { "ghcr.io" = { username = "…", password = "…" } }.`:                                                               &none,
	} {
		o := newHome(t, map[string]string{"named.json": "{}"}).options()
		o.DockerConfigPath = path
		o.DockerConfigJSON = "{}"
		if got := credentialFor(t, newStore(t, o), "ghcr.io/x").Advice("ghcr.io"); !strings.HasSuffix(got, want) {
			t.Errorf("Advice() = %s\nwant the suffix %s", got, want)
		}
	}
}

// A common mistake is to omit the port from the key.
func TestCredentialAdvice_OtherPort(t *testing.T) {
	for host, want := range map[string]string{
		"127.0.0.1:5602":        `found in registries (its entry "127.0.0.1" is not for "127.0.0.1:5602").`,
		"[::1]:5000":            `found in registries (its entry "[::1]:5001/team" is not for "[::1]:5000").`,
		"ghcr.io:443":           "found in registries.", // the entry has no credential
		"other.example.com:500": "found in registries.",
	} {
		none := ""
		store := newStore(t, auth.Options{DockerConfigPath: &none, Registries: map[string]auth.Credential{"127.0.0.1": ci, "[::1]:5001/team": ci, "ghcr.io": {TokenHosts: []string{"a.example"}}}})
		if got := credentialFor(t, store, host+"/x").Advice(host); !strings.Contains(got, want) {
			t.Errorf("Advice() = %s\nwant it to contain %s", got, want)
		}
	}
}

func TestConfigHint_Inline(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, brokenErr := auth.NewStore(auth.Options{DockerConfigJSON: "{"})
	assertError(t, brokenErr, registry.ErrCredentials, "Correct docker_config_json")
	const missing = `{"credsStore": "missing"}`
	_, inlineErr := inlineStore(t, missing).Credential(t.Context(), "ghcr.io", "x")
	assertError(t, inlineErr, registry.ErrCredentials, "Or take it out of docker_config_json")
	for _, err := range []error{brokenErr, inlineErr} {
		if e, ok := err.(*registry.Error); !ok || strings.Contains(e.Hint, "docker_config_path") { //nolint:errorlint // the test compares the type itself
			t.Errorf("hint of %v mentions docker_config_path", e)
		}
	}
	_, err := newStore(t, newHome(t, map[string]string{".docker/config.json": missing}).options()).Credential(t.Context(), "ghcr.io", "x")
	assertError(t, err, registry.ErrCredentials, `Or set docker_config_path = ""`, `"ghcr.io" in registries`)
}
