package auth

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// wellKnownTokenHosts are the token hosts of registries whose token endpoint has an
// unrelated host name, by the host of references. Only hosts of the registry's own
// operator may be added.
var wellKnownTokenHosts = map[string]string{
	registry.DockerHub:    "auth.docker.io",
	"rg.fr-par.scw.cloud": "api.scaleway.com",
	"rg.nl-ams.scw.cloud": "api.scaleway.com",
	"rg.pl-waw.scw.cloud": "api.scaleway.com",
}

// realm parses the realm of a Bearer challenge. It must be an absolute URL without
// userinfo. Its scheme may be http only if the registry's own scheme is http and
// the host is the same. These rules apply to anonymous requests too.
func (a *Authorizer) realm(text string) (*url.URL, error) {
	fail := func(kind error, shown, why string) (*url.URL, error) {
		return nil, &registry.Error{Op: "ask for a token at", Repository: a.options.Host, Reference: shown, Kind: kind, Message: why,
			Hint: "The realm is part of the registry's own configuration. Ask those who run it to correct it."}
	}
	if text == "" {
		return fail(registry.ErrProtocol, "", "the registry's challenge names no realm")
	}
	u, err := url.Parse(text)
	if err != nil {
		return fail(registry.ErrProtocol, "", "the realm that the registry names is not a URL")
	}
	shown := registry.RedactURL(u)
	switch {
	case u.Scheme == "":
		return fail(registry.ErrProtocol, shown, "the realm that the registry names is not an absolute URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return fail(registry.ErrForbiddenRedirect, shown, "only https and http are asked for tokens")
	case u.Hostname() == "":
		return fail(registry.ErrProtocol, shown, "the realm that the registry names has no host")
	case u.User != nil:
		return fail(registry.ErrForbiddenRedirect, shown, "the realm that the registry names carries a user name")
	case u.Scheme == "http" && a.options.Origin.Scheme == "https":
		return fail(registry.ErrForbiddenRedirect, shown, "it would go from https to http")
	case u.Scheme == "http" && !registry.SameHostname(u, a.options.Origin):
		return fail(registry.ErrForbiddenRedirect, shown, "another host than the registry's own is asked for tokens over https alone")
	case a.options.Allowed != nil && !a.options.Allowed(u):
		return fail(registry.ErrForbiddenRedirect, shown, "its address is one that a registry has no business to point at")
	}
	u.Fragment, u.RawFragment = "", ""
	u.RawQuery = withoutTokenParameters(u.Query()).Encode()
	return u, nil
}

// tokenParameters are the query parameters of a token request ("Token
// Authentication Specification"). Only the client sets them.
var tokenParameters = []string{"account", "scope", "service"}

// withoutTokenParameters returns the query of a realm without the parameters that a
// token request sets. They could extend the scope of the request. Names are
// compared without case, because some servers ignore it.
func withoutTokenParameters(query url.Values) url.Values {
	maps.DeleteFunc(query, func(name string, _ []string) bool {
		return slices.ContainsFunc(tokenParameters, func(own string) bool { return strings.EqualFold(name, own) })
	})
	return query
}

// isTrustedRealm reports whether a credential may be sent to a realm. The realm
// must belong to the registry, or be one of the credential's token hosts. Any realm
// is trusted for an anonymous credential.
func (a *Authorizer) isTrustedRealm(realm *url.URL, c Credential) bool {
	return c.Anonymous() || a.isOwnRealm(realm) || slices.ContainsFunc(c.TokenHosts, func(h string) bool { return isHost(realm, h) })
}

// untrustedRealm returns the error for a realm that must not receive a credential.
func (a *Authorizer) untrustedRealm(realm *url.URL, c Credential) error {
	return &registry.Error{Op: "ask for a token at", Repository: a.options.Host, Reference: registry.RedactURL(realm), Kind: registry.ErrForbiddenRedirect,
		Message: fmt.Sprintf("the registry wants the credentials (%s) to be sent to %s, which is not known to belong to it", c.Kind()+" from "+c.source(), registry.Sanitize(realm.Host)),
		Hint: fmt.Sprintf("If %s has its tokens issued there, set %s. Otherwise somebody is after the credentials.",
			a.options.Host, registry.Setting(a.options.Host, fmt.Sprintf("token_hosts = [%q]", registry.Sanitize(realm.Host))))}
}

// isOwnRealm reports whether a realm belongs to the registry. It must have the
// registry's origin or, over https, its host name, its registrable domain or its
// well-known token host.
func (a *Authorizer) isOwnRealm(realm *url.URL) bool {
	origin := a.options.Origin
	if realm.Scheme == origin.Scheme && isHost(realm, origin.Host) {
		return true
	}
	return realm.Scheme == "https" &&
		(registry.SameHostname(realm, origin) || sameDomain(endpointName(realm), endpointName(origin)) || isHost(realm, wellKnownTokenHosts[a.options.Host]))
}

// endpointName returns the host name of a URL as normalized by registry.Endpoint.
func endpointName(u *url.URL) string {
	name, _ := registry.Endpoint(u)
	return name
}

// sameDomain reports whether two host names, as returned by endpointName, have the
// same registrable domain according to the public suffix list. Addresses and public
// suffixes such as github.io have none.
func sameDomain(a, b string) bool {
	domain, err := publicsuffix.EffectiveTLDPlusOne(a)
	if err != nil || isNumeric(domain[strings.LastIndexByte(domain, '.')+1:]) {
		return false
	}
	other, err := publicsuffix.EffectiveTLDPlusOne(b)
	return err == nil && domain == other
}

// isNumeric reports whether a label starts with a digit. Resolvers treat names such
// as 127.1 as addresses.
func isNumeric(label string) bool {
	return label != "" && '0' <= label[0] && label[0] <= '9'
}

// isHost reports whether u has the given host[:port]. The port defaults to that of
// the scheme.
func isHost(u *url.URL, host string) bool {
	name, port := registry.Endpoint(u)
	otherName, otherPort := registry.Endpoint(&url.URL{Scheme: u.Scheme, Host: host})
	return name == otherName && port == otherPort
}
