package auth_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// home is a home directory, and the environment of a process that uses it.
type home struct {
	dir string
	env map[string]string
}

// newHome returns a home directory with files, by their relative paths.
func newHome(t *testing.T, files map[string]string) *home {
	t.Helper()
	h := &home{dir: t.TempDir(), env: map[string]string{}}
	h.env["HOME"], h.env["USERPROFILE"] = h.dir, h.dir
	for path, content := range files {
		full := h.path(path)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *home) path(path string) string { return filepath.Join(h.dir, filepath.FromSlash(path)) }

func (h *home) options() auth.Options {
	return auth.Options{Getenv: func(name string) string { return h.env[name] }}
}

// newStore returns the result of NewStore, which must succeed.
func newStore(t *testing.T, o auth.Options) *auth.Store {
	t.Helper()
	s, err := auth.NewStore(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// credentialFor returns the credential for a full repository name. Credential must succeed.
func credentialFor(t *testing.T, s *auth.Store, name string) auth.Credential {
	t.Helper()
	host, repository, _ := strings.Cut(name, "/")
	c, err := s.Credential(t.Context(), host, repository)
	if err != nil {
		t.Fatalf("Credential(%s) error = %v", name, err)
	}
	return c
}

// assertUsernames checks the user name of the credential for each repository, "" for anonymous.
func assertUsernames(t *testing.T, s *auth.Store, want map[string]string) {
	t.Helper()
	for name, user := range want {
		if got := credentialFor(t, s, name).Username; got != user {
			t.Errorf("Credential(%s).Username = %q, want %q", name, got, user)
		}
	}
}

// registriesFor returns entries of registries, each with its key as the user name.
func registriesFor(keys ...string) map[string]auth.Credential {
	registries := map[string]auth.Credential{}
	for _, key := range keys {
		registries[key] = auth.Credential{Username: key, Password: password}
	}
	return registries
}

func TestStore_LongestPrefix(t *testing.T) {
	s := newStore(t, auth.Options{Registries: registriesFor("example.com", "example.com/team-a", "example.com/team-a/secret", "other.com/x"), DockerConfigPath: new(string)})
	assertUsernames(t, s, map[string]string{
		"example.com/app":                  "example.com",
		"example.com/team-a":               "example.com/team-a",
		"example.com/team-a/app":           "example.com/team-a",
		"example.com/team-ab/app":          "example.com",
		"example.com/team-a/secret":        "example.com/team-a/secret",
		"example.com/team-a/secret/deep/x": "example.com/team-a/secret",
		"example.com/team-a/secrets":       "example.com/team-a",
		"example.com/x/team-a/app":         "example.com",
		"other.com/x/y":                    "other.com/x",
		"other.com/y":                      "",
	})
}

func TestStore_HostMatch(t *testing.T) {
	s := newStore(t, auth.Options{Registries: registriesFor("GHCR.io", "index.docker.io", "localhost:5000", "[::1]:5000"), DockerConfigPath: new(string)})
	assertUsernames(t, s, map[string]string{
		"ghcr.io/x":              "GHCR.io",
		"GHCR.IO/x":              "GHCR.io",
		"ghcr.io:443/x":          "",
		"evilghcr.io/x":          "",
		"ghcr.io.evil.com/x":     "",
		"www.ghcr.io/x":          "",
		"docker.io/library/x":    "index.docker.io",
		"index.docker.io/x":      "index.docker.io",
		"registry-1.docker.io/x": "index.docker.io",
		"docker.io:443/x":        "index.docker.io",
		"docker.io:5000/x":       "",
		"auth.docker.io/x":       "",
		"localhost:5000/x":       "localhost:5000",
		"localhost:5001/x":       "",
		"localhost/x":            "",
		"[::1]:5000/x":           "[::1]:5000",
	})
}

func TestStore_InvalidHost(t *testing.T) {
	s := newStore(t, auth.Options{Registries: registriesFor("ghcr.io"), DockerConfigPath: new(string)})
	for _, host := range []string{"", "ghcr.io.", "ghcr.io\n", "ghcr.io\nevil.com", "gh cr.io", "-ghcr.io", "https:", "user@ghcr.io", "ghcr.io:x", "ghcr.io:", "ghcr.io;rm", "$(id)", "ghcr.io\x00", "[::1"} {
		_, err := s.Credential(t.Context(), host, "x")
		assertError(t, err, registry.ErrCredentials, "not a host")
	}
}

func TestNewStore_InvalidKeys(t *testing.T) {
	for _, key := range []string{"", "https://ghcr.io", "ghcr.io/", "ghcr.io//x", "ghcr.io/X", "ghcr.io/x/", "gh cr.io", "ghcr.io.", "/x", "ghcr.io/x?"} {
		_, err := auth.NewStore(auth.Options{Registries: registriesFor(key), DockerConfigPath: new(string)})
		assertError(t, err, registry.ErrCredentials, key, "registry.example.com/team-a")
		if slash := strings.HasSuffix(key, "/"); slash != strings.Contains(err.Error(), "a slash at the end; write it without") {
			t.Errorf("NewStore() with the key %q error = %v", key, err)
		}
	}
	for key, shown := range map[string]string{
		"canary-user@ghcr.io": "***@ghcr.io", "ci:" + password + "@ghcr.io": "***@ghcr.io", "https://ci:" + password + "@ghcr.io/v2/": "https://***@ghcr.io/v2/",
		"ghcr.io/x?token=" + password: "ghcr.io/x?***", "ghcr.io#" + password: "ghcr.io#***",
	} {
		_, err := auth.NewStore(auth.Options{Registries: registriesFor(key), DockerConfigPath: new(string)})
		assertError(t, err, registry.ErrCredentials, " "+shown+": ")
	}
	for _, host := range []string{"", "https://auth.example", "auth.example/token", "auth example", "*.example", "auth.example:x", "\x1b[31m"} {
		_, err := auth.NewStore(auth.Options{Registries: map[string]auth.Credential{"ghcr.io/x": {TokenHosts: []string{"auth.example:8443", host}}}})
		assertError(t, err, registry.ErrCredentials, "ghcr.io/x", "in token_hosts is not a host", "auth.example.com:8443")
	}
	_, err := auth.NewStore(auth.Options{Registries: registriesFor("docker.io/x", "registry-1.docker.io/x")})
	assertError(t, err, registry.ErrCredentials, "docker.io/x", "same place")
}

// The test removes one source after the other, and checks which one is used next.
func TestStore_SourceOrder(t *testing.T) {
	h := newHome(t, map[string]string{
		".docker/config.json":      config(map[string]string{"ghcr.io": "docker home"}),
		"elsewhere/config.json":    config(map[string]string{"ghcr.io": "DOCKER_CONFIG"}),
		"named.json":               config(map[string]string{"ghcr.io": "path"}),
		"auth.json":                config(map[string]string{"ghcr.io": "REGISTRY_AUTH_FILE"}),
		"run/containers/auth.json": config(map[string]string{"ghcr.io": "podman"}),
	})
	o := h.options()
	o.Registries = registriesFor("ghcr.io")
	o.DockerConfigJSON = auth.Secret(config(map[string]string{"ghcr.io": "inline"}))
	path := "~/named.json"
	o.DockerConfigPath = &path
	h.env["DOCKER_CONFIG"] = h.path("elsewhere")
	h.env["REGISTRY_AUTH_FILE"] = h.path("auth.json")
	h.env["XDG_RUNTIME_DIR"] = h.path("run")

	for _, step := range []struct {
		user, source string
		remove       func()
	}{
		{"ghcr.io", `registries["ghcr.io"] in the provider's configuration`, func() { o.Registries = nil }},
		{"inline", "docker_config_json", func() { o.DockerConfigJSON = "" }},
		{"path", "~/named.json", func() { o.DockerConfigPath = nil }},
		{"DOCKER_CONFIG", "~/elsewhere/config.json", func() { delete(h.env, "DOCKER_CONFIG") }},
		{"docker home", "~/.docker/config.json", func() { delete(h.env, "HOME"); delete(h.env, "USERPROFILE") }},
		{"REGISTRY_AUTH_FILE", h.path("auth.json"), func() { delete(h.env, "REGISTRY_AUTH_FILE") }},
		{"podman", h.path("run/containers/auth.json"), func() { delete(h.env, "XDG_RUNTIME_DIR") }},
		{"", "no credentials were found, and there is no place to look for them", func() {}},
	} {
		c := credentialFor(t, newStore(t, o), "ghcr.io/acme/app")
		if c.Username != step.user || c.Source != step.source {
			t.Errorf("Credential() = %q from %s, want %q from %s", c.Username, c.Source, step.user, step.source)
		}
		if step.user != "" && c.Password != password {
			t.Errorf("the password of %s is wrong", step.user)
		}
		step.remove()
	}
}

// Docker's file is read before podman's, and the Source of an anonymous credential lists all
// sources.
func TestStore_NextSource(t *testing.T) {
	h := newHome(t, map[string]string{
		".docker/config.json":      `{"auths": {"quay.io": {}, "ghcr.io": {"auth": "` + base64Of("docker:"+password) + `"}}}`,
		"run/containers/auth.json": config(map[string]string{"quay.io": "podman", "ghcr.io": "podman"}),
	})
	h.env["XDG_RUNTIME_DIR"] = h.path("run")
	o := h.options()
	o.Registries = registriesFor("other.com")
	o.DockerConfigJSON = `{}`
	s := newStore(t, o)
	assertUsernames(t, s, map[string]string{"quay.io/x": "podman", "ghcr.io/x": "docker"})
	c := credentialFor(t, s, "gcr.io/x")
	want := "no credentials were found in registries, docker_config_json, ~/.docker/config.json, ~/run/containers/auth.json"
	if !c.Anonymous() || c.Source != want {
		t.Errorf("Credential() = %+v, want an anonymous one from %q", c, want)
	}
}

func TestStore_EmptyConfigPath(t *testing.T) {
	h := newHome(t, map[string]string{".docker/config.json": config(map[string]string{"ghcr.io": "docker", "quay.io": "docker"})})
	o := h.options()
	o.DockerConfigPath = new(string)
	o.DockerConfigJSON = auth.Secret(config(map[string]string{"quay.io": "inline"}))
	assertUsernames(t, newStore(t, o), map[string]string{"ghcr.io/x": "", "quay.io/x": "inline"})
}

func TestStore_AnonymousTokenHosts(t *testing.T) {
	o := auth.Options{
		Registries:       map[string]auth.Credential{"ghcr.io": {TokenHosts: []string{"auth.example.com"}}, "ghcr.io/acme": {Username: "acme", TokenHosts: []string{"acme.example.com"}}},
		DockerConfigPath: new(string),
		DockerConfigJSON: auth.Secret(config(map[string]string{"ghcr.io": "inline"})),
	}
	s := newStore(t, o)
	for name, want := range map[string]auth.Credential{
		"ghcr.io/x":      {Username: "inline", Password: password, TokenHosts: []string{"auth.example.com"}, Source: "docker_config_json"},
		"ghcr.io/acme/x": {Username: "acme", TokenHosts: []string{"acme.example.com"}, Source: `registries["ghcr.io/acme"] in the provider's configuration`},
	} {
		if got := credentialFor(t, s, name); !reflect.DeepEqual(got, want) {
			t.Errorf("Credential(%s) = %+v, want %+v", name, got, want)
		}
	}
}

// Every message about the file would quote the content of a configuration that is passed as its
// path.
func TestNewStore_ContentAsPath(t *testing.T) {
	content := config(map[string]string{"ghcr.io": "ci"})
	for name, path := range map[string]string{
		"json":            "\n" + content,
		"byte_order_mark": "\ufeff" + content,
		"base64":          base64.StdEncoding.EncodeToString([]byte(content)),
		"yaml":            "auths:\n  ghcr.io:\n    auth: canary\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := auth.NewStore(auth.Options{DockerConfigPath: &path})
			assertError(t, err, registry.ErrCredentials, "docker_config_path", "docker_config_json")
			if strings.Contains(err.Error(), path) {
				t.Errorf("NewStore() error = %v, want one without the value", err)
			}
		})
	}
}

// Docker's keys may be URLs, of which only the host is used.
func TestConfigFile_SecretInKey(t *testing.T) {
	s := inlineStore(t, `{"auths": {"https://ghcr.io/v2/?token=`+password+`": {"auth": "none"}}}`)
	_, err := s.Credential(t.Context(), "ghcr.io", "x")
	assertError(t, err, registry.ErrCredentials, `the entry for "https://ghcr.io/v2/?***" has an auth`)
}
