package remote_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

func TestNew_InvalidOptions(t *testing.T) {
	good := newAuthority(t)
	_, goodKey := encodePEM(t, good.issue(t, "x"))
	for name, test := range map[string]struct {
		hosts map[string]remote.HostOptions
		want  string
	}{
		"repository":              {map[string]remote.HostOptions{"ghcr.io/acme": {}}, "ghcr.io/acme"},
		"scheme":                  {map[string]remote.HostOptions{"https://ghcr.io": {}}, "https://ghcr.io"},
		"bare_word":               {map[string]remote.HostOptions{"registry": {}}, `"registry"`},
		"one_slot":                {map[string]remote.HostOptions{"ghcr.io": {MaxConcurrentRequests: 1}}, "at least 2"},
		"negative_rate":           {map[string]remote.HostOptions{"ghcr.io": {RequestsPerSecond: -1}}, "-1 requests per second"},
		"nan_rate":                {map[string]remote.HostOptions{"ghcr.io": {RequestsPerSecond: math.NaN()}}, "NaN requests per second"},
		"infinite_rate":           {map[string]remote.HostOptions{"ghcr.io": {RequestsPerSecond: math.Inf(1)}}, "+Inf requests per second"},
		"negative_limit":          {map[string]remote.HostOptions{"ghcr.io": {MaxConcurrentRequests: -1}}, "at least 2"},
		"key_as_ca":               {map[string]remote.HostOptions{"ghcr.io": {CACertificate: goodKey}}, "begins with a private key"},
		"invalid_ca":              {map[string]remote.HostOptions{"ghcr.io": {CACertificate: []byte("x")}}, "ghcr.io"},
		"key_without_certificate": {map[string]remote.HostOptions{"ghcr.io": {ClientKey: canary}}, "ghcr.io"},
		"certificate_without_key": {map[string]remote.HostOptions{"ghcr.io": {ClientCertificate: good.pem}}, "ghcr.io"},
		"duplicate_host":          {map[string]remote.HostOptions{"ghcr.io": {}, "GHCR.io": {}}, "two settings"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := remote.New(remote.Options{Hosts: test.hosts})
			if err == nil {
				t.Fatal("New() error = nil, want an error")
			}
			assertContains(t, err.Error(), test.want)
			assertNoSecret(t, "error", err.Error())
		})
	}
	for want, o := range map[string]remote.Options{
		"attempts":          {Attempts: -1},
		"backoff":           {Backoff: -1},
		"stall timeout":     {StallTimeout: -time.Second},
		"header timeout":    {HeaderTimeout: -time.Second},
		"largest manifest":  {MaxManifestBytes: -1},
		"credential helper": {Credentials: auth.Options{HelperTimeout: -1}},
		"in token_hosts":    {Credentials: auth.Options{Registries: map[string]auth.Credential{"ghcr.io": {TokenHosts: []string{"https://x"}}}}},
	} {
		if _, err := remote.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New() error = %v, want it to contain %q", err, want)
		}
	}
	none := ""
	if _, err := remote.New(remote.Options{Credentials: auth.Options{DockerConfigPath: &none, DockerConfigJSON: "{"}}); !errors.Is(err, registry.ErrCredentials) {
		t.Errorf("New() with unreadable credentials = %v, want ErrCredentials", err)
	}
}
