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

// host is one registry: where its API is, how it is spoken to, and what it was
// seen to do.
type host struct {
	name      string // canonical; see Client.CanonicalHost
	origin    *url.URL
	transport *http.Transport
	limiter   *limiter
	parts     buffers // for blobs that are read in parts
	auth      *auth.Authorizer
	scope     hostScope
	// challenged is set once the host has asked who asks. Until then nothing is
	// looked up and nothing sent.
	challenged atomic.Bool
	// answered is set once the host has answered anything: then it is spoken to
	// as it wants to be.
	answered atomic.Bool
	seen     capabilities
	evidence evidence
	// known are the secrets that there are for the host.
	secrets  func() []auth.Secret
	warnings warningDedup
}

// apiHosts are registries whose API is not at the host of their references.
var apiHosts = map[string]string{registry.DockerHub: "registry-1.docker.io"}

// newHost makes a host of settings that New has checked.
func newHost(c *Client, name string, settings HostOptions) *host {
	h := &host{name: name, limiter: newLimiter(settings.MaxConcurrentRequests, settings.RequestsPerSecond), parts: newBuffers(maxBuffers)}
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
		panic(err) // New has made it once
	}
	isOwn := func(address string) bool { // and not a proxy's
		return h.isOrigin(&url.URL{Scheme: h.origin.Scheme, Host: address})
	}
	h.transport = c.newTransport(func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, at, err := c.dialer.dial(ctx, network, address, allowAny)
		if err == nil && isOwn(address) {
			h.scope.note(classifyAddr(at))
		}
		return conn, err
	}, tlsConfig, func(address string) bool { return !isOwn(address) }, h.limiter.max)
	h.transport.Proxy = c.options.Proxy
	h.auth = auth.NewAuthorizer(auth.AuthorizerOptions{
		Host: name, Origin: h.origin, UserAgent: c.options.UserAgent, Now: c.options.Now, Logger: c.options.Logger,
		Allowed: func(realm *url.URL) bool {
			return h.isOrigin(realm) || checkRedirectByName(realm.Hostname(), h.scope.reach()) == nil
		},
		Send: func(req *http.Request) (*http.Response, error) { return c.sendToken(h, req) },
	})
	return h
}

// IsLoopback says whether host[:port] is this machine's by its name, without
// asking anybody: plain HTTP is the default there.
func IsLoopback(host string) bool {
	name, _ := registry.Endpoint(&url.URL{Host: host})
	if name == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && a.IsLoopback()
}

// hostScope is the reach of the addresses that a host was connected to. Of
// several the one closest to the public counts: who answers in public must not
// gain by a name that resolves to something private from time to time.
type hostScope struct{ atomic.Int64 } // one more than the reach; 0: none yet

func (s *hostScope) note(r addrScope) {
	for {
		known := s.Load()
		if known != 0 && known <= int64(r)+1 || s.CompareAndSwap(known, int64(r)+1) {
			return
		}
	}
}

// addrScope is what the host may point at besides public addresses. Behind a proxy
// it is not known, and the strictest is taken. A registry that is itself at a
// forbidden address, because somebody configured it so, may point at public
// ones alone.
func (s *hostScope) reach() addrScope {
	if r := addrScope(s.Load() - 1); r == private || r == loopback {
		return r
	}
	return public
}
