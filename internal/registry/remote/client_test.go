package remote_test

import (
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// An option for TLS on a loopback host means that the host uses TLS.
func TestPlainHTTP_LoopbackWithTLSOptions(t *testing.T) {
	n := newFakeNetwork(t)
	host := address(n.serveTLS(t, serveManifest, "127.0.0.1"))
	certificate, key := encodePEM(t, n.authority.issue(t, "ci"))
	yes, no := true, false
	for name, test := range map[string]struct {
		settings remote.HostOptions
		plain    bool
	}{
		"none":                          {remote.HostOptions{}, true},
		"rate_limit":                    {remote.HostOptions{RequestsPerSecond: 1000}, true},
		"ca_certificate":                {remote.HostOptions{CACertificate: n.authority.pem}, false},
		"insecure_skip_tls_verify":      {remote.HostOptions{InsecureSkipTLSVerify: true}, false},
		"client_certificate":            {remote.HostOptions{ClientCertificate: certificate, ClientKey: auth.Secret(key)}, false},
		"ca_certificate_and_plain_http": {remote.HostOptions{CACertificate: n.authority.pem, PlainHTTP: &yes}, true},
		"plain_http_false":              {remote.HostOptions{PlainHTTP: &no}, false},
	} {
		c := newClient(t, settings(map[string]remote.HostOptions{host: test.settings}))
		if got := c.PlainHTTP(host); got != test.plain {
			t.Errorf("%s: PlainHTTP() = %t, want %t", name, got, test.plain)
		}
	}
	c := newClient(t, settings(map[string]remote.HostOptions{host: {CACertificate: n.authority.pem}}))
	if _, err := c.pull(t, host+"/app").GetManifest(t.Context(), "1"); err != nil {
		t.Error(err)
	}
}
