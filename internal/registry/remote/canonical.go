package remote

import (
	"maps"
	"slices"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Hosts maps host[:port], in the form of registry.NormalHost, to the settings
// of the host. The settings decide which scheme a host uses and thereby which
// port is its default, so they decide whether two spellings are one host.
type Hosts map[string]HostOptions

// Canonical returns the canonical spelling of a host, which has no default port
// of the scheme in use: 127.0.0.1:80 becomes 127.0.0.1, because loopback uses
// HTTP by default, and example.com:443 becomes example.com. Text that is not a
// host is returned unchanged.
//
// The port is kept if the name alone would not be parsed as a host in a
// reference.
func (h Hosts) Canonical(host string) string {
	normal, err := registry.NormalHost(host)
	if err != nil {
		return host
	}
	canonical, _ := h.find(normal)
	return canonical
}

// find returns the canonical spelling of a host in normal form, and its settings
// under whichever spelling they were given.
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

// withoutPort returns the settings of a host that is written without a port, and
// its scheme. Settings that were given with the default port are its settings
// too, unless they change the scheme: a host does not lose TLS because of what
// is configured for another of its ports.
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

// duplicate returns the first host in alphabetical order that has settings both with
// and without its default port, "" if there is none.
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

// speaksPlainHTTP reports whether a host uses plain HTTP: if plain_http says
// so, or by default on loopback unless a TLS setting is given for the host.
func usesPlainHTTP(settings HostOptions, host string) bool {
	if settings.PlainHTTP != nil {
		return *settings.PlainHTTP
	}
	return !settings.hasTLSSettings() && IsLoopback(host)
}

// CanonicalHost returns the spelling of a host that stands for all its spellings
// with the client's settings; see Hosts.Canonical.
func (c *Client) CanonicalHost(host string) string { return c.settings.Canonical(host) }

// hostOf returns the host that a reference's host means: one for all its
// spellings.
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
