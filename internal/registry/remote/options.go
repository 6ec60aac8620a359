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

// Options are what a Client is made of. The zero value is a working one:
// ambient credentials, plain HTTP for loopback alone, sixteen requests in
// flight to a host. New owns every default; callers translate their own
// configuration into these fields and decide nothing themselves.
type Options struct {
	// UserAgent goes with every request.
	UserAgent string
	// Credentials says where credentials come from.
	Credentials auth.Options
	// Hosts has settings for hosts, by host[:port] as it stands in references, with
	// or without the default port of the scheme.
	Hosts map[string]HostOptions
	// MaxManifestBytes is the largest manifest that is read; 4 MiB where 0.
	MaxManifestBytes int64
	// Memory bounds the memory for manifests; one of its own where nil.
	Memory *registry.Memory
	// Logger is told each request at debug level; nowhere where nil.
	Logger *slog.Logger

	// NoRanges reads each blob over one connection, however slow that is.
	NoRanges bool
	// Attempts is how often a request is tried in all; 6 where 0.
	Attempts int
	// Backoff is the wait before the second attempt, doubled for each further
	// one, with jitter; 250 ms where 0.
	Backoff time.Duration
	// StallTimeout is how long a transfer may go without a byte; 60 s where 0.
	// There is no limit on a transfer's whole time.
	StallTimeout time.Duration
	// HeaderTimeout is how long an answer's headers may take after the request
	// was sent; 60 s where 0.
	HeaderTimeout time.Duration

	// Dial connects to an address whose host is a literal IP; net.Dialer's
	// where nil. Resolve finds the addresses of a name; net.DefaultResolver's
	// where nil. Proxy finds the proxy for a request; http.ProxyFromEnvironment
	// where nil. Now is the clock that token lifetimes go by; time.Now where nil.
	// All four are for tests, which map public names to listeners.
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	Proxy   func(*http.Request) (*url.URL, error)
	Now     func() time.Time
}

// check refuses numbers that make no sense, so that none is taken for another.
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
	// PlainHTTP speaks HTTP instead of HTTPS. nil means yes for loopback
	// (127.0.0.0/8, ::1, localhost) without any of the settings for TLS below,
	// and no for everything else.
	PlainHTTP *bool
	// InsecureSkipTLSVerify accepts any certificate of this host, and of no
	// other that it redirects to.
	InsecureSkipTLSVerify bool
	// CACertificate is PEM; trusted besides the system's.
	CACertificate []byte
	// ClientCertificate and ClientKey are PEM, presented to this host alone.
	ClientCertificate []byte
	ClientKey         auth.Secret
	// MaxConcurrentRequests is at least 2 (a blob that moves within one host is
	// read and written at once); 16 where 0.
	MaxConcurrentRequests int
	// RequestsPerSecond has no limit where 0.
	RequestsPerSecond float64
}

// wantTLS says whether there is a setting that only TLS has a use for.
func (o HostOptions) hasTLSSettings() bool {
	return o.InsecureSkipTLSVerify || len(o.CACertificate) > 0 || len(o.ClientCertificate) > 0 || o.ClientKey != ""
}
