package remote

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"strings"
	"testing"
)

func TestTLSHint_InvalidCertificate(t *testing.T) {
	for reason, want := range map[x509.InvalidReason]string{x509.Expired: "has expired or is not valid yet", x509.NotAuthorizedToSign: "cannot be used"} {
		err := &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Cert: new(x509.Certificate), Reason: reason}}
		at := &url.URL{Scheme: "https", Host: "h"}
		if got := (&host{name: "h", origin: at}).tlsHint(err, at); !strings.Contains(got, want) {
			t.Errorf("tlsHint() = %q, want it to contain %q", got, want)
		}
	}
}
