package auth_test

import (
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// White space around a secret is the commonest reason for a login that is
// refused, and the one that nobody sees.
func TestWhiteSpaceAroundACredentialIsTold(t *testing.T) {
	const told = "begins or ends with white space, such as the line break at the end of a file: trimspace(file(…))"
	for what, c := range map[string]auth.Credential{
		"The user name ":      {Username: "ci ", Password: password},
		"The password ":       {Username: "ci", Password: password + "\n"},
		"The identity token ": {IdentityToken: " " + identityToken},
		"The registry token ": {RegistryToken: registryToken + "\r\n"},
	} {
		advice := c.Advice("ghcr.io")
		if !strings.Contains(advice, what+told) || strings.Count(advice, told) != 1 {
			t.Errorf("of %sit says: %s", what, advice)
		}
		noSecret(t, advice)
	}
	if advice := ci.Advice("ghcr.io"); strings.Contains(advice, "white space") {
		t.Errorf("where there is none it says: %s", advice)
	}
}

func TestABlankInAUserNameCanBeSeen(t *testing.T) {
	for want, name := range map[string]string{`"ci "`: "ci ", `"\tci"`: "\tci", `"c\ni"`: "c\ni"} {
		if got := (auth.Credential{Username: name, Password: password}).Kind(); got != "the login of the user "+want {
			t.Errorf("it says %s, not %s", got, want)
		}
	}
}

// What is advised must be able to help: docker login changes nothing where its
// file is not read.
func TestAdviceNamesAPlaceThatIsLookedInto(t *testing.T) {
	named, none := "~/named.json", ""
	for want, path := range map[string]*string{
		`. Set registries = { "ghcr.io" = { username = "…", password = "…" } }, or run docker login ghcr.io.`:                                  nil,
		`. Set registries = { "ghcr.io" = { username = "…", password = "…" } }, or put one into ~/named.json, which docker_config_path names.`: &named,
		`. Set registries = { "ghcr.io" = { username = "…", password = "…" } }.`:                                                               &none,
	} {
		o := newHome(t, map[string]string{"named.json": "{}"}).options()
		o.DockerConfigPath = path
		o.DockerConfigJSON = "{}"
		if got := find(t, newStore(t, o), "ghcr.io/x").Advice("ghcr.io"); !strings.HasSuffix(got, want) {
			t.Errorf("it says: %s\nand not%s", got, want)
		}
	}
}

// The commonest slip with a port is to leave it out of the key.
func TestAnEntryForAnotherPortIsNamed(t *testing.T) {
	for host, want := range map[string]string{
		"127.0.0.1:5602":        `found in registries (its entry "127.0.0.1" is not for "127.0.0.1:5602").`,
		"[::1]:5000":            `found in registries (its entry "[::1]:5001/team" is not for "[::1]:5000").`,
		"ghcr.io:443":           "found in registries.", // whose entry has no credential
		"other.example.com:500": "found in registries.",
	} {
		none := ""
		store := newStore(t, auth.Options{DockerConfigPath: &none, Registries: map[string]auth.Credential{"127.0.0.1": ci, "[::1]:5001/team": ci, "ghcr.io": {TokenHosts: []string{"a.example"}}}})
		if got := find(t, store, host+"/x").Advice(host); !strings.Contains(got, want) {
			t.Errorf("it says: %s\nand not %s", got, want)
		}
	}
}

func TestAFaultOfASettingIsNotToldOfAFile(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, brokenErr := auth.NewStore(auth.Options{DockerConfigJSON: "{"})
	refused(t, brokenErr, registry.ErrCredentials, "Correct docker_config_json")
	const missing = `{"credsStore": "missing"}`
	_, inlineErr := inline(t, missing).Credential(t.Context(), "ghcr.io", "x")
	refused(t, inlineErr, registry.ErrCredentials, "Or take it out of docker_config_json")
	for _, err := range []error{brokenErr, inlineErr} {
		if e, ok := err.(*registry.Error); !ok || strings.Contains(e.Hint, "docker_config_path") { //nolint:errorlint // as it comes
			t.Errorf("it is about docker_config_path: %v", e)
		}
	}
	_, err := newStore(t, newHome(t, map[string]string{".docker/config.json": missing}).options()).Credential(t.Context(), "ghcr.io", "x")
	refused(t, err, registry.ErrCredentials, `Or set docker_config_path = ""`, `"ghcr.io" in registries`)
}
