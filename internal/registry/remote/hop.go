package remote

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// maxHops is how many redirects one request follows.
const maxHops = 10

// hops are the connections to places that a registry pointed at. They know no
// host's TLS settings and no credentials, and look at each address after DNS.
// This is the one place where going to another origin is allowed or refused.
type hops struct {
	guarded map[reach]*http.Transport // by the reach of the registry that pointed
	proxied *http.Transport
}

func newHops(d dialer) *hops {
	h := &hops{guarded: map[reach]*http.Transport{}}
	for _, from := range []reach{public, private, loopback} {
		h.guarded[from] = newTransport(func(ctx context.Context, network, address string) (net.Conn, error) {
			return d.dial(ctx, network, address, func(a netip.Addr) error { return allowHop(a, from) })
		}, nil, defaultConcurrency)
	}
	unchecked := func(netip.Addr) error { return nil }
	h.proxied = newTransport(func(ctx context.Context, network, address string) (net.Conn, error) {
		return d.dial(ctx, network, address, unchecked)
	}, nil, defaultConcurrency)
	h.proxied.Proxy = http.ProxyFromEnvironment
	return h
}

// allowHop refuses an address that a registry of the given reach has no
// business to point at.
func allowHop(a netip.Addr, from reach) error {
	to := reachOf(a)
	if to == public || to != forbidden && to == from {
		return nil
	}
	return &registry.Error{Op: "follow the registry to", Reference: a.String(), Kind: registry.ErrForbiddenHop,
		Message: fmt.Sprintf("it is a %s address and the registry's own is %s", to, from)}
}

// roundTrip sends a request to another origin than the registry's. A proxy
// dials by itself, so that behind one only literal addresses can be looked at.
func (h *hops) roundTrip(req *http.Request, from reach) (*http.Response, error) {
	proxy, err := http.ProxyFromEnvironment(req)
	if err != nil {
		return nil, err
	}
	if proxy == nil {
		return h.guarded[from].RoundTrip(req)
	}
	if literal, err := netip.ParseAddr(req.URL.Hostname()); err == nil {
		if err := allowHop(literal, from); err != nil {
			return nil, err
		}
	}
	return h.proxied.RoundTrip(req)
}

// target is where a registry pointed to with a redirect, a Location or a Link,
// seen from the request that it answered (RFC 3986, section 5; RFC 9110,
// section 10.2.2). Never from https to http: where that is the same host, it
// is a registry that does not know that a proxy gives it TLS, and https is
// meant.
func target(from *url.URL, location string) (*url.URL, error) {
	refuse := func(why string) (*url.URL, error) {
		return nil, &registry.Error{Op: "follow the registry to", Reference: registry.Clean(location), Kind: registry.ErrForbiddenHop, Message: why}
	}
	if location == "" {
		return nil, &registry.Error{Op: "follow the registry", Kind: registry.ErrProtocol, Message: "it gave no Location"}
	}
	to, err := url.Parse(location)
	if err != nil {
		return nil, &registry.Error{Op: "follow the registry", Kind: registry.ErrProtocol, Message: "its Location is not a URL"}
	}
	to = from.ResolveReference(to)
	to.Fragment, to.RawFragment = "", ""
	if to.User != nil {
		to.User = nil
		return refuse("it carries a user name")
	}
	if to.Scheme != "https" && to.Scheme != "http" || to.Host == "" {
		return refuse("only https and http are followed")
	}
	if from.Scheme == "https" && to.Scheme == "http" {
		if !strings.EqualFold(to.Hostname(), from.Hostname()) {
			return refuse("it would go from https to http")
		}
		to.Scheme, to.Host = "https", from.Host
	}
	return to, nil
}

// sameOrigin says whether two URLs have one origin (RFC 6454, section 4).
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	return map[string]string{"https": "443", "http": "80"}[u.Scheme]
}
