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

// redirectTransports are the connections to places that a registry pointed at. They carry no
// credentials, client certificates included, and look at each address after
// DNS. Only whom to trust there is taken from the settings, where they name the
// place. This is the one place where going to another origin is allowed or
// refused.
type redirectTransports struct {
	client *Client

	mu         sync.Mutex
	transports map[redirectKey]*http.Transport
}

// hop is what the connections to other places are kept apart by.
type redirectKey struct {
	host    string    // in the settings; "" where they do not name it
	scope   addrScope // the reach of the registry that pointed
	proxied bool
}

func newRedirectTransports(c *Client) *redirectTransports {
	return &redirectTransports{client: c, transports: map[redirectKey]*http.Transport{}}
}

// roundTrip sends a request to another origin than the registry's. A proxy
// dials by itself, so that behind one only the name can be looked at.
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

// transport returns the connections for a hop. There are few: the settings name
// what is kept apart.
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
		check = allowAny // the proxy's
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

// checkRedirect refuses an address that a registry of the given reach, which is never
// forbidden, has no business to point at.
func checkRedirect(a netip.Addr, from addrScope) error {
	to := classifyAddr(a)
	if to == public || to == from {
		return nil
	}
	return forbiddenRedirect(fmt.Sprintf("%s is a %s address and the registry's own is %s", a, to, from))
}

// checkRedirectByName is checkRedirect where a proxy will look up the name: what can be
// read as an address without looking it up, in any of the forms that resolvers
// know, is refused unless it is a public one in its usual form. It is looked at as
// net/http sends it, which turns other digits and dots into those of ASCII.
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

// maxLocation is longer than any URL that a server takes, signed ones included.
const maxLocation = 16 << 10

// target is where a registry pointed to with a redirect, a Location or a Link,
// seen from the request that it answered (RFC 3986, section 5; RFC 9110,
// section 10.2.2).
//
// Never from https to http: where that is the same host, it is a registry that
// does not know that a proxy gives it TLS, and https is meant. Nor to http at
// all unless that is how the place is spoken to.
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
			// What would not be connected to all the same is refused for that, which no
			// setting allows.
			if forbidden, is := errors.AsType[*registry.Error](checkRedirectByName(to.Hostname(), h.scope.reach())); is {
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

// isOrigin says whether a URL is at the host's origin (RFC 6454, section 4).
func (h *host) isOrigin(u *url.URL) bool {
	return u.Scheme == h.origin.Scheme && registry.SameHostname(u, h.origin) && portOf(u) == portOf(h.origin)
}

func portOf(u *url.URL) string {
	_, port := registry.Endpoint(u)
	return port
}
