package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// redirectTransports sends requests to the origins that a registry directs the client to.
// These requests carry no credentials or client certificates, and each address is checked
// after name resolution. The settings of a host apply only to TLS trust. This is the only
// place that allows or rejects connections to another origin.
type redirectTransports struct {
	client *Client

	mu         sync.Mutex
	transports map[redirectKey]*http.Transport
}

// redirectKey identifies a transport of redirectTransports. Connections are shared only by
// requests with the same key.
type redirectKey struct {
	host    string    // name in the settings; "" if there are none for it
	scope   addrScope // scope of the registry
	proxied bool
}

func newRedirectTransports(c *Client) *redirectTransports {
	return &redirectTransports{client: c, transports: map[redirectKey]*http.Transport{}}
}

// roundTrip sends a request to an origin other than the registry's. A proxy resolves names
// itself, so behind a proxy only the name can be checked.
func (h *redirectTransports) roundTrip(req *http.Request, from addrScope) (*http.Response, error) {
	proxy, err := h.client.options.Proxy(req)
	if err != nil {
		return nil, err
	}
	if proxy != nil {
		if err := checkRedirectByName(req.URL.Hostname(), from); err != nil {
			return nil, err
		}
	}
	name, _ := h.client.settingsOf(req.URL)
	t, err := h.transport(redirectKey{name, from, proxy != nil}, req.URL)
	if err != nil {
		return nil, err
	}
	resp, err := t.RoundTrip(req)
	return resp, h.client.withProxyError(req, err)
}

// transport returns the transport for key, with the TLS trust for u. There are few
// transports, because keys differ only by settings.
func (h *redirectTransports) transport(key redirectKey, u *url.URL) (*http.Transport, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t, ok := h.transports[key]; ok {
		return t, nil
	}
	trust, err := h.client.thirdPartyTLSConfig(u)
	if err != nil {
		return nil, err
	}
	check := func(a netip.Addr) error { return checkRedirect(a, key.scope) }
	if key.proxied {
		check = allowAny // the dialed address is the proxy's
	}
	t := h.client.newTransport(func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, _, err := h.client.dialer.dial(ctx, network, address, check)
		return conn, err
	}, trust, func(string) bool { return key.proxied }, defaultConcurrency)
	t.MaxIdleConns = maxIdleRedirects
	if key.proxied {
		t.Proxy = h.client.options.Proxy
	}
	h.transports[key] = t
	return t, nil
}

// checkRedirect returns an error if a registry with the given scope, which is never
// forbidden, may not direct the client to a.
func checkRedirect(a netip.Addr, from addrScope) error {
	to := classifyAddr(a)
	if to == public || to == from {
		return nil
	}
	return forbiddenRedirect(fmt.Sprintf("%s is a %s address and the registry's own is %s", a, to, from))
}

// checkRedirectByName is like checkRedirect for a name that a proxy will resolve. Resolvers
// accept addresses in many forms. The name is rejected if it is an address in an unusual
// form, or one that checkRedirect rejects. It is checked as net/http sends it, with digits
// and dots of other scripts converted to ASCII.
func checkRedirectByName(hostname string, from addrScope) error {
	name, err := registry.ASCIIName(hostname)
	if err != nil {
		return forbiddenRedirect(fmt.Sprintf("%s is not the name of a host", registry.Sanitize(hostname)))
	}
	name = strings.TrimSuffix(name, ".")
	if literal, err := netip.ParseAddr(name); err == nil {
		return checkRedirect(literal, from)
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case last == "localhost" && from != loopback:
		return forbiddenRedirect(fmt.Sprintf("%s is this machine and the registry is not", registry.Sanitize(hostname)))
	case last == "" || '0' <= last[0] && last[0] <= '9':
		return forbiddenRedirect(fmt.Sprintf("%s is an address in an unusual form", registry.Sanitize(hostname)))
	}
	return nil
}

// maxLocation is longer than any URL that a server accepts, including signed ones.
const maxLocation = 16 << 10

// target returns the URL in a redirect, Location or Link header of a registry, resolved
// against the URL of the request (RFC 3986, section 5; RFC 9110, section 10.2.2).
//
// It never returns an http URL for an https request. If such a URL names the same host,
// target returns it with https, because the registry may not know that a proxy adds TLS.
// For an http request it returns an http URL of another host only if that host uses plain
// HTTP by its settings or by default.
func (c *Client) target(h *host, from *url.URL, location string) (*url.URL, error) {
	if location == "" {
		return nil, &registry.Error{Kind: registry.ErrProtocol, Message: "the registry points on and does not say where to: its answer has no Location"}
	}
	if len(location) > maxLocation {
		return nil, &registry.Error{Kind: registry.ErrLimit, Message: fmt.Sprintf("the registry points on with a URL of more than %d bytes", maxLocation), Hint: notARegistryHint}
	}
	to, err := url.Parse(location)
	if err != nil {
		return nil, &registry.Error{Kind: registry.ErrProtocol, Message: "the registry points on to what is not a URL"}
	}
	to = from.ResolveReference(to)
	to.Fragment, to.RawFragment = "", ""
	switch {
	case to.User != nil:
		return nil, forbiddenLocation(to, "that carries a user name")
	case to.Scheme != "https" && to.Scheme != "http" || to.Hostname() == "":
		return nil, forbiddenLocation(to, "only https and http are followed")
	case to.Scheme == "http" && from.Scheme == "https":
		if port := portOf(to); !registry.SameHostname(to, from) || port != "80" && port != portOf(from) {
			return nil, forbiddenLocation(to, "that would go from https to http")
		}
		to.Scheme, to.Host = "https", from.Host
	case to.Scheme == "http" && !registry.SameHostname(to, h.origin):
		if _, settings := c.settingsOf(to); !usesPlainHTTP(settings, to.Host) {
			// Prefer the error for an address that no setting allows.
			if forbidden, is := errors.AsType[*registry.Error](checkRedirectByName(to.Hostname(), h.scope.addrScope())); is {
				return nil, forbiddenLocation(to, forbidden.Message)
			}
			refusal := forbiddenLocation(to, "that is plain HTTP")
			refusal.Hint = "If it really has no TLS, set " + registry.Setting(h.settingsKey(to), "plain_http = true") + "."
			return nil, refusal
		}
	}
	return to, nil
}

func forbiddenLocation(to *url.URL, why string) *registry.Error {
	return forbiddenRedirect("the registry points to " + registry.RedactURL(to) + ", and " + why)
}

func forbiddenRedirect(why string) *registry.Error {
	return &registry.Error{Kind: registry.ErrForbiddenRedirect, Message: why}
}

// isOrigin reports whether u is at the host's origin (RFC 6454, section 4).
func (h *host) isOrigin(u *url.URL) bool {
	return u.Scheme == h.origin.Scheme && registry.SameHostname(u, h.origin) && portOf(u) == portOf(h.origin)
}

func portOf(u *url.URL) string {
	_, port := registry.Endpoint(u)
	return port
}
