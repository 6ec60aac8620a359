package remote

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestCheckRedirectByName(t *testing.T) {
	for _, name := range []string{"cdn.example.net", "cdn.example.net.", "CDN.example.net", "1.example.net", "0x.example", "8.8.8.8", "8.8.8.8.", "2606:4700::1"} {
		if err := checkRedirectByName(name, public); err != nil {
			t.Errorf("checkRedirectByName(%s) = %v, want nil", name, err)
		}
	}
	for name, from := range map[string]addrScope{"10.0.0.1": private, "10.0.0.1.": private, "localhost": loopback, "127.0.0.1": loopback} {
		if err := checkRedirectByName(name, from); err != nil {
			t.Errorf("checkRedirectByName(%s) from a %s registry = %v, want nil", name, from, err)
		}
		if err := checkRedirectByName(name, public); !errors.Is(err, registry.ErrForbiddenRedirect) {
			t.Errorf("checkRedirectByName(%s) from a public registry = %v, want ErrForbiddenRedirect", name, err)
		}
	}
}

func TestHostScope(t *testing.T) {
	for _, test := range []struct {
		seen []addrScope
		want addrScope
	}{
		{nil, public},
		{[]addrScope{private}, private},
		{[]addrScope{loopback}, loopback},
		{[]addrScope{public, private}, public},
		{[]addrScope{private, public}, public},
		{[]addrScope{loopback, private}, private},
		{[]addrScope{private, loopback, private}, private},
		{[]addrScope{forbidden}, public},
		{[]addrScope{forbidden, private}, private},
		{[]addrScope{private, forbidden}, private},
	} {
		var s hostScope
		for _, r := range test.seen {
			s.note(r)
		}
		if got := s.reach(); got != test.want {
			t.Errorf("reach() after %v = %v, want %v", test.seen, got, test.want)
		}
	}
}

func TestTLSHint_InvalidCertificate(t *testing.T) {
	for reason, want := range map[x509.InvalidReason]string{x509.Expired: "has expired or is not valid yet", x509.NotAuthorizedToSign: "cannot be used"} {
		err := &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Cert: new(x509.Certificate), Reason: reason}}
		at := &url.URL{Scheme: "https", Host: "h"}
		if got := (&host{name: "h", origin: at}).tlsHint(err, at); !strings.Contains(got, want) {
			t.Errorf("tlsHint() = %q, want it to contain %q", got, want)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "127.9.9.9": true, "[::1]": true, "[::1]:5000": true,
		"localhost.example:5000": false, "10.0.0.1:5000": false, "[fd00::1]:5000": false, "docker.io": false, "": false,
	} {
		if got := IsLoopback(host); got != want {
			t.Errorf("IsLoopback(%q) = %t", host, got)
		}
	}
}
