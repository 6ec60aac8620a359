package auth_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// withTLS returns the canonical spelling of a host that uses TLS.
func withTLS(host string) string { return strings.TrimSuffix(host, ":443") }

func TestStore_HostSpellings(t *testing.T) {
	t.Parallel()
	s := newStore(t, auth.Options{
		CanonicalHost: withTLS, DockerConfigPath: new(string),
		Registries:       registriesFor("ghcr.io:0443", "Quay.io/acme", "bücher.example", "[0:0::1]:5000"),
		DockerConfigJSON: auth.Secret(config(map[string]string{"gcr.io:443": "file", "https://index.docker.io:443/v1/": "hub"})),
	})
	assertUsernames(t, s, map[string]string{
		"ghcr.io/x":                 "ghcr.io:0443",
		"ghcr.io:443/x":             "ghcr.io:0443",
		"GHCR.io:00443/x":           "ghcr.io:0443",
		"ghcr.io:5000/x":            "",
		"quay.io:443/acme/x":        "Quay.io/acme",
		"quay.io:443/other":         "",
		"gcr.io/x":                  "file",
		"gcr.io:443/x":              "file",
		"docker.io/library/x":       "hub",
		"xn--bcher-kva.example/x":   "bücher.example",
		"bücher.example:443/x":      "bücher.example",
		"[::1]:5000/x":              "[0:0::1]:5000",
		"[0:0:0:0:0:0:0:1]:05000/x": "[0:0::1]:5000",
	})
	for _, host := range []string{"gcr.io", "gcr.io:443", "ghcr.io:443"} {
		if secrets := s.Known(host); len(secrets) == 0 {
			t.Errorf("Known(%s) is empty", host)
		}
	}
	for _, keys := range [][]string{{"ghcr.io", "ghcr.io:443"}, {"ghcr.io/x", "ghcr.io:443/x"}, {"ghcr.io:443", "ghcr.io:0443"}} {
		_, err := auth.NewStore(auth.Options{CanonicalHost: withTLS, Registries: registriesFor(keys...)})
		assertError(t, err, registry.ErrCredentials, "two keys mean the same place")
	}
	for _, key := range []string{"doc\u212aer.io", "ghcr.io.", "ghcr.io.:443/x", "bü_cher.example"} {
		_, err := auth.NewStore(auth.Options{Registries: registriesFor(key)})
		assertError(t, err, registry.ErrCredentials, "the key has no valid host")
	}
}

// A helper stores a host in the spelling that was passed to docker login.
func TestHelper_HostSpellings(t *testing.T) {
	const onlyWithPort = `case $server in *:443) ` + printCredential + `;; *) echo 'credentials not found in native keychain'; exit 1;; esac`
	for name, test := range map[string]struct {
		config, host string
		user         string
		requests     []string
	}{
		"as_written":      {`{"credsStore": "test"}`, "ghcr.io:443", "helped", []string{"get ghcr.io:443"}},
		"as_logged_in":    {`{"credsStore": "test", "auths": {"ghcr.io:443": {}, "ghcr.io/x": {}, "quay.io:443": {}}}`, "ghcr.io", "helped", []string{"get ghcr.io", "get ghcr.io:443"}},
		"own_helper":      {`{"credHelpers": {"ghcr.io:443": "test"}}`, "ghcr.io", "helped", []string{"get ghcr.io", "get ghcr.io:443"}},
		"none":            {`{"credsStore": "test"}`, "ghcr.io", "", []string{"get ghcr.io"}},
		"another_port":    {`{"credsStore": "test", "auths": {"ghcr.io:443": {}}}`, "ghcr.io:5000", "", []string{"get ghcr.io:5000"}},
		"canonical_after": {`{"credsStore": "test", "auths": {"ghcr.io": {}}}`, "ghcr.io:5443", "", []string{"get ghcr.io:5443"}},
	} {
		t.Run(name, func(t *testing.T) {
			log := withHelper(t, onlyWithPort)
			s := newStore(t, auth.Options{CanonicalHost: withTLS, DockerConfigPath: new(string), DockerConfigJSON: auth.Secret(test.config)})
			if got := credentialFor(t, s, test.host+"/x").Username; got != test.user {
				t.Errorf("Credential(%s) has the user name %q, want %q", test.host, got, test.user)
			}
			if got := helperRequests(t, log); !slices.Equal(got, test.requests) {
				t.Errorf("helper requests = %q, want %q", got, test.requests)
			}
		})
	}
}

func TestRealm_HostSpellings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ host, origin, realm string }{
		{"ghcr.io", "https://ghcr.io", "https://ghcr.io:0443/token"},
		{"127.0.0.1", "http://127.0.0.1", "http://127.0.0.1:80/token"},
		{"127.0.0.1", "http://127.0.0.1", "http://[::ffff:127.0.0.1]/token"},
		{"[::1]", "http://[::1]", "http://[0:0:0:0:0:0:0:1]:080/token"},
		{"xn--bcher-kva.example", "https://xn--bcher-kva.example", "https://auth.bücher.example/token"},
	} {
		i := &issuer{}
		a := challenged(t, optionsFor(i, test.host, test.origin), bearerAt(test.realm), ci, pull)
		if got := authorize(t, a, ci, pull); got != "Bearer token-1" {
			t.Errorf("Authorize() with realm %s of %s = %q, want token-1", test.realm, test.host, got)
		}
	}
	i := &issuer{}
	withTokenHost := ci
	withTokenHost.TokenHosts = []string{"Auth.BÜCHER.example:08443"}
	a := challenged(t, optionsFor(i, "ghcr.io", "https://ghcr.io"), bearerAt("https://auth.xn--bcher-kva.example:8443/token"), withTokenHost, pull)
	if got := authorize(t, a, withTokenHost, pull); got != "Bearer token-1" {
		t.Errorf("Authorize() with a token host = %q, want token-1", got)
	}
}
