package remote

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// host is one registry host: its origin, its transport and its observed behavior.
type host struct {
	name        string // canonical; see Client.CanonicalHost
	origin      *url.URL
	transport   *http.Transport
	limiter     *limiter
	partBuffers buffers // for parallel reads of blobs
	auth        *auth.Authorizer
	scope       hostScope
	// challenged is set once the host has sent a challenge or accepted credentials. Before
	// that, no request carries credentials; see retryNotFound for the exception.
	challenged atomic.Bool
	// answered is set after the first response from the host, which shows that the scheme
	// is right.
	answered     atomic.Bool
	capabilities capabilities
	evidence     evidence
	// secrets returns the secrets that are configured for the host.
	secrets  func() []auth.Secret
	warnings warningDedup
}

// apiHosts maps registries to the host of their API if it differs from the host in
// references.
var apiHosts = map[string]string{registry.DockerHub: "registry-1.docker.io"}

// newHost returns a host with settings that New has validated.
func newHost(c *Client, name string, settings HostOptions) *host {
	h := &host{name: name, limiter: newLimiter(settings.MaxConcurrentRequests, settings.RequestsPerSecond), partBuffers: newBuffers(maxBuffers)}
	h.limiter.host = name
	h.secrets = sync.OnceValue(func() []auth.Secret { return c.credentials.Known(name) })
	h.origin = &url.URL{Scheme: "https", Host: name}
	if api, ok := apiHosts[name]; ok {
		h.origin.Host = api
	}
	if usesPlainHTTP(settings, h.origin.Host) {
		h.origin.Scheme = "http"
	}
	tlsConfig, err := tlsConfigOf(name, settings)
	if err != nil {
		panic(err) // New has validated the settings
	}
	isOwn := func(address string) bool { // reports whether address is not a proxy's
		return h.isOrigin(&url.URL{Scheme: h.origin.Scheme, Host: address})
	}
	h.transport = c.newTransport(func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, at, err := c.dialer.dial(ctx, network, address, allowAny)
		if err == nil && isOwn(address) {
			h.scope.add(classifyAddr(at))
		}
		return conn, err
	}, tlsConfig, func(address string) bool { return !isOwn(address) }, h.limiter.max)
	h.transport.Proxy = c.options.Proxy
	h.auth = auth.NewAuthorizer(auth.AuthorizerOptions{
		Host: name, Origin: h.origin, UserAgent: c.options.UserAgent, Now: c.options.Now, Logger: c.options.Logger,
		Allowed: func(realm *url.URL) bool {
			return h.isOrigin(realm) || checkRedirectByName(realm.Hostname(), h.scope.addrScope()) == nil
		},
		Send: func(req *http.Request) (*http.Response, error) { return c.sendToken(h, req) },
	})
	return h
}

// IsLoopback reports whether host[:port] is a loopback host, judged by its name without a
// lookup. Such hosts use plain HTTP by default.
func IsLoopback(host string) bool {
	name, _ := registry.Endpoint(&url.URL{Host: host})
	if name == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && a.IsLoopback()
}

// hostScope is the scope of the addresses that the client has connected to for a host. If
// there are several, the most public one counts. A public registry must not gain access to
// private addresses with a name that occasionally resolves to one.
type hostScope struct{ atomic.Int64 } // addrScope plus one; 0 if there is none yet

func (s *hostScope) add(r addrScope) {
	for {
		known := s.Load()
		if known != 0 && known <= int64(r)+1 || s.CompareAndSwap(known, int64(r)+1) {
			return
		}
	}
}

// addrScope returns the addrScope that the host may direct the client to besides public addresses.
// Behind a proxy it is unknown and counts as public, which is the strictest. A registry
// that is configured at a forbidden address may direct the client to public addresses only.
func (s *hostScope) addrScope() addrScope {
	if r := addrScope(s.Load() - 1); r == private || r == loopback {
		return r
	}
	return public
}
