package remote

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// Options configures a Client. The zero value is valid: it uses ambient credentials, plain
// HTTP for loopback hosts only, and at most 16 requests in flight to a host. New applies
// all defaults; callers only translate their own configuration into these fields.
type Options struct {
	// UserAgent is sent with every request.
	UserAgent string
	// Credentials configures where credentials are found.
	Credentials auth.Options
	// Hosts maps host[:port], as written in references, to the settings of the host. The
	// default port of the scheme may be included or omitted.
	Hosts map[string]HostOptions
	// MaxManifestBytes is the maximum size of a manifest. The default is 4 MiB.
	MaxManifestBytes int64
	// Memory bounds the memory for manifests. If nil, the client uses its own.
	Memory *registry.Memory
	// Logger receives log messages; requests are logged at LevelTrace. If nil, messages are
	// discarded.
	Logger *slog.Logger

	// NoRanges disables parallel range requests: each blob is read over one connection,
	// however slow it is.
	NoRanges bool
	// Attempts is the maximum number of attempts for a request. The default is 6.
	Attempts int
	// Backoff is the delay before the second attempt. It doubles for each further attempt,
	// with jitter. The default is 250 ms.
	Backoff time.Duration
	// StallTimeout is how long a transfer may go without progress. The default is 60 s. The
	// total time of a transfer is not limited.
	StallTimeout time.Duration
	// HeaderTimeout is how long the response headers may take after the request was sent.
	// The default is 60 s.
	HeaderTimeout time.Duration

	// Dial connects to an address whose host is a literal IP; the default is net.Dialer.
	// Resolve returns the addresses of a name; the default is net.DefaultResolver. Proxy
	// returns the proxy for a request; the default is the environment's proxy. Now returns
	// the time for token lifetimes; the default is time.Now. All four exist for tests,
	// which map public names to listeners.
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	Proxy   func(*http.Request) (*url.URL, error)
	Now     func() time.Time
}

// validate returns an error if a numeric option is negative.
func (o Options) validate() error {
	for name, n := range map[string]int64{
		"largest manifest": o.MaxManifestBytes, "number of attempts": int64(o.Attempts), "backoff": int64(o.Backoff),
		"stall timeout": int64(o.StallTimeout), "header timeout": int64(o.HeaderTimeout), "time for a credential helper": int64(o.Credentials.HelperTimeout),
	} {
		if n < 0 {
			return fmt.Errorf("the %s is negative", name)
		}
	}
	return nil
}

// HostOptions are the settings of one registry host.
type HostOptions struct {
	// PlainHTTP selects HTTP instead of HTTPS. If nil, loopback hosts (127.0.0.0/8, ::1,
	// localhost) without any of the TLS settings below use HTTP, and all other hosts use
	// HTTPS.
	PlainHTTP *bool
	// InsecureSkipTLSVerify accepts any certificate of this host, but not of hosts that it
	// redirects to.
	InsecureSkipTLSVerify bool
	// CACertificate is a PEM bundle that is trusted in addition to the system's
	// certificates.
	CACertificate []byte
	// ClientCertificate and ClientKey are PEM. They are presented to this host only.
	ClientCertificate []byte
	ClientKey         auth.Secret
	// MaxConcurrentRequests limits the requests in flight. It is at least 2, because a blob
	// that is copied within one host is read and written at once. The default is 16.
	MaxConcurrentRequests int
	// RequestsPerSecond limits the rate of requests. The rate is unlimited if it is 0.
	RequestsPerSecond float64
}

// hasTLSSettings reports whether a setting is present that applies to TLS only.
func (o HostOptions) hasTLSSettings() bool {
	return o.InsecureSkipTLSVerify || len(o.CACertificate) > 0 || len(o.ClientCertificate) > 0 || o.ClientKey != ""
}
