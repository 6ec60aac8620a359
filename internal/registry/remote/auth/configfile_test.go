package auth_test

import (
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// inlineStore returns a store with only the given configuration.
func inlineStore(t *testing.T, content string) *auth.Store {
	t.Helper()
	return newStore(t, auth.Options{DockerConfigJSON: auth.Secret(content), DockerConfigPath: new(string)})
}

func TestConfigFile_Entries(t *testing.T) {
	for name, test := range map[string]struct {
		entry string
		want  auth.Credential
	}{
		"auth":                            {`{"auth": "` + base64Of("ci:"+password) + `", "email": "x@example.com"}`, auth.Credential{Username: "ci", Password: password}},
		"auth_without_padding":            {`{"auth": "` + strings.TrimRight(base64Of("ci:"+password), "=") + `"}`, auth.Credential{Username: "ci", Password: password}},
		"password_with_colon":             {`{"auth": "` + base64Of("ci:a:b") + `"}`, auth.Credential{Username: "ci", Password: "a:b"}},
		"password_padded":                 {`{"auth": "` + base64Of("ci:"+password+"\x00\x00") + `"}`, auth.Credential{Username: "ci", Password: password}},
		"username_and_password":           {`{"username": "ci", "password": "` + password + `"}`, auth.Credential{Username: "ci", Password: password}},
		"auth_over_password":              {`{"auth": "` + base64Of("ci:"+password) + `", "username": "x", "password": "y"}`, auth.Credential{Username: "ci", Password: password}},
		"identity_token":                  {`{"identitytoken": "` + identityToken + `"}`, auth.Credential{IdentityToken: identityToken}},
		"identity_token_and_user":         {`{"auth": "` + base64Of("00000000:") + `", "identitytoken": "` + identityToken + `"}`, auth.Credential{Username: "00000000", IdentityToken: identityToken}},
		"token_marker_in_auth":            {`{"auth": "` + base64Of("<token>:"+identityToken) + `"}`, auth.Credential{IdentityToken: identityToken}},
		"token_marker_as_user":            {`{"username": "<token>", "password": "` + identityToken + `"}`, auth.Credential{IdentityToken: identityToken}},
		"token_marker_and_identity_token": {`{"username": "<token>", "password": "x", "identitytoken": "` + identityToken + `"}`, auth.Credential{IdentityToken: identityToken}},
		"registry_token":                  {`{"registrytoken": "` + registryToken + `"}`, auth.Credential{RegistryToken: registryToken}},
	} {
		t.Run(name, func(t *testing.T) {
			test.want.Source = "docker_config_json"
			got := credentialFor(t, inlineStore(t, `{"auths": {"ghcr.io": `+test.entry+`}}`), "ghcr.io/x")
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("Credential() = %q, %q, %q, %q from %q", got.Username, got.Password.Reveal(), got.IdentityToken.Reveal(), got.RegistryToken.Reveal(), got.Source)
			}
		})
	}
}

func TestConfigFile_Keys(t *testing.T) {
	for _, key := range []string{"https://index.docker.io/v1/", "https://index.docker.io/v2/", "index.docker.io/v1/", "index.docker.io", "registry-1.docker.io", "docker.io", "https://docker.io", "Docker.IO"} {
		assertUsernames(t, inlineStore(t, config(map[string]string{key: "hub"})), map[string]string{
			"docker.io/library/alpine": "hub", "docker.io/v1": "hub", "ghcr.io/x": "", "auth.docker.io/x": "",
		})
	}
	for _, key := range []string{"example.com:5000", "https://example.com:5000", "http://example.com:5000/", "https://example.com:5000/v2/", "https://example.com:5000/any/path", "example.com:5000/", "EXAMPLE.com:5000"} {
		assertUsernames(t, inlineStore(t, config(map[string]string{key: "port"})), map[string]string{"example.com:5000/x": "port", "example.com/x": "", "example.com:5001/x": ""})
	}
	assertUsernames(t, inlineStore(t, config(map[string]string{"": "x", "not a host": "x", "ghcr.io.": "x", "evilghcr.io": "x", "ghcr.io.evil.com": "x"})), map[string]string{"ghcr.io/x": ""})
}

func TestConfigFile_LongestNamespace(t *testing.T) {
	s := inlineStore(t, config(map[string]string{"quay.io": "host", "quay.io/acme": "acme", "quay.io/acme/app": "app", "quay.io/acme/": "never", "docker.io/library": "library"}))
	assertUsernames(t, s, map[string]string{
		"quay.io/x": "host", "quay.io/acme/x": "acme", "quay.io/acmes/x": "host", "quay.io/acme/app": "app", "quay.io/acme/app/x": "app", "quay.io/acme/apps": "acme",
		"docker.io/library/alpine": "library", "docker.io/acme/x": "",
	})
}

func TestConfigFile_EmptyEntries(t *testing.T) {
	s := inlineStore(t, `{"auths": {"quay.io/acme": {}, "https://quay.io": {}, "quay.io": {"auth": "`+base64Of("host:"+password)+`"}}}`)
	assertUsernames(t, s, map[string]string{"quay.io/acme/x": "host"})
}

// The test uses several stores, because the order of Go maps is random.
func TestConfigFile_DuplicateHostKeys(t *testing.T) {
	for range 20 {
		s := inlineStore(t, config(map[string]string{"https://index.docker.io/v1/": "url", "index.docker.io": "index", "docker.io": "plain", "https://quay.io": "url", "quay.io": "plain"}))
		assertUsernames(t, s, map[string]string{"docker.io/library/alpine": "plain", "quay.io/x": "plain"})
	}
}

func TestConfigFile_InvalidContent(t *testing.T) {
	for name, content := range map[string]string{
		"not_json":           `{"auths": {"ghcr.io": {"password": "` + password + `"`,
		"plain_text":         password,
		"array":              `["` + password + `"]`,
		"number_as_password": `{"auths": {"ghcr.io": {"password": 12345678}}}`,
		"auths_as_text":      `{"auths": "` + password + `"}`,
		"helpers_as_text":    `{"credHelpers": "` + password + `"}`,
		"two_values":         `{} {"password": "` + password + `"}`,
		"store_as_number":    `{"credsStore": 12345678}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := auth.NewStore(auth.Options{DockerConfigJSON: auth.Secret(content), DockerConfigPath: new(string)})
			assertError(t, err, registry.ErrCredentials, "docker_config_json", "JSON")
			if strings.Contains(err.Error(), "12345678") {
				t.Errorf("NewStore() error = %v, which quotes the file", err)
			}

			h := newHome(t, map[string]string{".docker/config.json": content})
			_, err = newStore(t, h.options()).Credential(t.Context(), "ghcr.io", "x")
			assertError(t, err, registry.ErrCredentials, "~/.docker/config.json", "docker_config_path")
		})
	}
}

func TestConfigFile_InvalidEntry(t *testing.T) {
	for _, invalid := range []string{password, base64Of(password), "!!!"} {
		s := inlineStore(t, `{"auths": {"ghcr.io": {"auth": "`+invalid+`"}, "quay.io": {"auth": "`+base64Of("ci:"+password)+`"}}}`)
		assertUsernames(t, s, map[string]string{"quay.io/x": "ci"})
		_, err := s.Credential(t.Context(), "ghcr.io", "x")
		assertError(t, err, registry.ErrCredentials, `"ghcr.io"`, "base64 of user:password")
	}
}

func TestConfigFile_MissingOrEmpty(t *testing.T) {
	h := newHome(t, map[string]string{".docker/config.json": " \n"})
	assertUsernames(t, newStore(t, h.options()), map[string]string{"ghcr.io/x": ""})
	h.env["DOCKER_CONFIG"] = h.path("missing")
	assertUsernames(t, newStore(t, h.options()), map[string]string{"ghcr.io/x": ""})

	o := h.options()
	path := h.path("named.json")
	o.DockerConfigPath = &path
	_, err := newStore(t, o).Credential(t.Context(), "ghcr.io", "x")
	assertError(t, err, registry.ErrCredentials, "~/named.json", "docker_config_path")
	if strings.Contains(err.Error(), h.dir) {
		t.Errorf("Credential() error = %v, which repeats the path", err)
	}
}

func TestConfigFile_Unreadable(t *testing.T) {
	h := newHome(t, map[string]string{".docker/config.json/is/a": "directory"})
	_, err := newStore(t, h.options()).Credential(t.Context(), "ghcr.io", "x")
	assertError(t, err, registry.ErrCredentials, "~/.docker/config.json", "it is a directory and not a file")
	o := h.options()
	for _, path := range []string{"~/.docker", "~/.docker/"} {
		o.DockerConfigPath = &path
		_, err = newStore(t, o).Credential(t.Context(), "ghcr.io", "x")
		assertError(t, err, registry.ErrCredentials, "cannot read credentials from ~/.docker", "it is a directory and not a file; did you mean ~/.docker/config.json?")
	}

	large := newHome(t, map[string]string{".docker/config.json": strings.Repeat(" ", 4<<20) + "{}"})
	_, err = newStore(t, large.options()).Credential(t.Context(), "ghcr.io", "x")
	assertError(t, err, registry.ErrCredentials, "larger than")

	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		return // on Windows and for root, every file is readable
	}
	secret := newHome(t, map[string]string{".docker/config.json": "{}"})
	if err := os.Chmod(secret.path(".docker/config.json"), 0); err != nil {
		t.Fatal(err)
	}
	_, err = newStore(t, secret.options()).Credential(t.Context(), "ghcr.io", "x")
	assertError(t, err, registry.ErrCredentials, "permission denied")
}

func TestConfigFile_ReadOnce(t *testing.T) {
	h := newHome(t, map[string]string{".docker/config.json": config(map[string]string{"ghcr.io": "ci"})})
	s := newStore(t, h.options())
	assertUsernames(t, s, map[string]string{"ghcr.io/x": "ci"})
	if err := os.Remove(h.path(".docker/config.json")); err != nil {
		t.Fatal(err)
	}
	assertUsernames(t, s, map[string]string{"ghcr.io/x": "ci"})
}
