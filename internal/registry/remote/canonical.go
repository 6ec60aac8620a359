package remote

import (
	"maps"
	"slices"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Hosts maps host[:port], in the form of registry.NormalHost, to the settings of the host.
// The settings determine the scheme of a host and its default port, and therefore whether
// two spellings name the same host.
type Hosts map[string]HostOptions

// Canonical returns the canonical spelling of a host, without the default port of its
// scheme: 127.0.0.1:80 becomes 127.0.0.1, because loopback uses HTTP by default, and
// example.com:443 becomes example.com. It returns text that is not a host unchanged.
//
// The port is kept if the name alone would not be parsed as a host in a reference.
func (h Hosts) Canonical(host string) string {
	normal, err := registry.NormalHost(host)
	if err != nil {
		return host
	}
	canonical, _ := h.find(normal)
	return canonical
}

// find returns the canonical spelling of a host in normal form, and its settings under
// whichever spelling they were configured.
func (h Hosts) find(host string) (canonical string, settings HostOptions) {
	name, port := registry.SplitPort(host)
	settings, scheme := h.withoutPort(name)
	if port == "" {
		return host, settings
	}
	_, nameGiven := h[name]
	own, given := h[host]
	if port == registry.DefaultPort(scheme) && registry.HasHost(name+"/") && (nameGiven || !given || schemeOf(name, own) == scheme) {
		return name, settings
	}
	return host, own
}

// withoutPort returns the settings and the scheme of a host that is written without a port.
// Settings configured with the default port apply too, unless they change the scheme:
// settings for one port must not disable TLS on another.
func (h Hosts) withoutPort(name string) (settings HostOptions, scheme string) {
	if settings, given := h[name]; given {
		return settings, schemeOf(name, settings)
	}
	scheme = schemeOf(name, HostOptions{})
	if settings := h[registry.JoinPort(name, registry.DefaultPort(scheme))]; schemeOf(name, settings) == scheme {
		return settings, scheme
	}
	return HostOptions{}, scheme
}

// duplicate returns the first host in alphabetical order that has settings both with and
// without its default port, or "" if there is none.
func (h Hosts) duplicate() string {
	for _, host := range slices.Sorted(maps.Keys(h)) {
		name, port := registry.SplitPort(host)
		if settings, given := h[name]; given && port != "" && port == registry.DefaultPort(schemeOf(name, settings)) {
			return name
		}
	}
	return ""
}

func schemeOf(host string, settings HostOptions) string {
	if usesPlainHTTP(settings, host) {
		return "http"
	}
	return "https"
}

// usesPlainHTTP reports whether a host uses plain HTTP. PlainHTTP decides if it is set.
// Otherwise loopback hosts without TLS settings use plain HTTP.
func usesPlainHTTP(settings HostOptions, host string) bool {
	if settings.PlainHTTP != nil {
		return *settings.PlainHTTP
	}
	return !settings.hasTLSSettings() && IsLoopback(host)
}

// CanonicalHost returns the canonical spelling of a host under the client's settings; see
// Hosts.Canonical.
func (c *Client) CanonicalHost(host string) string { return c.settings.Canonical(host) }

// hostOf returns the host for the host part of a reference. All spellings of a host share
// one value.
func (c *Client) hostOf(name string) *host {
	canonical, settings := name, HostOptions{}
	if normal, err := registry.NormalHost(name); err == nil {
		canonical, settings = c.settings.find(normal)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.hosts[canonical]
	if !ok {
		h = newHost(c, canonical, settings)
		c.hosts[canonical] = h
	}
	return h
}
