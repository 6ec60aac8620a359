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

// tokenHostOf are the registries whose token endpoint is on a host of another
// name, by the host of references. Only what a registry's operator runs itself
// belongs here.
var wellKnownTokenHosts = map[string]string{
	registry.DockerHub:    "auth.docker.io",
	"rg.fr-par.scw.cloud": "api.scaleway.com",
	"rg.nl-ams.scw.cloud": "api.scaleway.com",
	"rg.pl-waw.scw.cloud": "api.scaleway.com",
}

// realm reads where a Bearer challenge wants tokens to be asked for. Whoever
// asks, it is an absolute URL without userinfo, never plain HTTP for a registry
// that speaks HTTPS, and plain HTTP only on the registry's own host.
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

// tokenParameters are the query parameters of a token request ("Token Authentication Specification").
// Their values are the client's own.
var tokenParameters = []string{"account", "scope", "service"}

// withoutTokenParameters returns the query of a realm without the parameters that a token request sets. A
// realm that has them would add a scope to the one that is asked for. They are compared without case,
// because some servers read them so.
func withoutTokenParameters(query url.Values) url.Values {
	maps.DeleteFunc(query, func(name string, _ []string) bool {
		return slices.ContainsFunc(tokenParameters, func(own string) bool { return strings.EqualFold(name, own) })
	})
	return query
}

// mayHave says whether a credential may be sent to a realm: it belongs to the
// registry, or is among the credential's own token hosts. An anonymous one has
// nothing to lose.
func (a *Authorizer) isTrustedRealm(realm *url.URL, c Credential) bool {
	return c.Anonymous() || a.isOwnRealm(realm) || slices.ContainsFunc(c.TokenHosts, func(h string) bool { return isHost(realm, h) })
}

// untrustedRealm is the error for a realm that may not have a credential.
func (a *Authorizer) untrustedRealm(realm *url.URL, c Credential) error {
	return &registry.Error{Op: "ask for a token at", Repository: a.options.Host, Reference: registry.RedactURL(realm), Kind: registry.ErrForbiddenRedirect,
		Message: fmt.Sprintf("the registry wants the credentials (%s) to be sent to %s, which is not known to belong to it", c.Kind()+" from "+c.source(), registry.Sanitize(realm.Host)),
		Hint: fmt.Sprintf("If %s has its tokens issued there, set %s. Otherwise somebody is after the credentials.",
			a.options.Host, registry.Setting(a.options.Host, fmt.Sprintf("token_hosts = [%q]", registry.Sanitize(realm.Host))))}
}

// belongs says whether a realm is the registry's: its own origin or, over
// https, its own host, its registrable domain or the host that goes with it.
func (a *Authorizer) isOwnRealm(realm *url.URL) bool {
	origin := a.options.Origin
	if realm.Scheme == origin.Scheme && isHost(realm, origin.Host) {
		return true
	}
	return realm.Scheme == "https" &&
		(registry.SameHostname(realm, origin) || sameDomain(endpointName(realm), endpointName(origin)) || isHost(realm, wellKnownTokenHosts[a.options.Host]))
}

// nameOf returns the name of a URL's host in the one spelling of
// registry.Endpoint.
func endpointName(u *url.URL) string {
	name, _ := registry.Endpoint(u)
	return name
}

// sameDomain says whether two host names, as nameOf returns them, were registered by one party,
// according to the public suffix list. Addresses and public suffixes such as
// github.io have no registrable domain.
func sameDomain(a, b string) bool {
	domain, err := publicsuffix.EffectiveTLDPlusOne(a)
	if err != nil || isNumeric(domain[strings.LastIndexByte(domain, '.')+1:]) {
		return false
	}
	other, err := publicsuffix.EffectiveTLDPlusOne(b)
	return err == nil && domain == other
}

// isNumeric catches what resolvers take for an address although it is not
// written as one, such as 127.1.
func isNumeric(label string) bool {
	return label != "" && '0' <= label[0] && label[0] <= '9'
}

// isHost says whether u is at host[:port], where no port means the scheme's.
func isHost(u *url.URL, host string) bool {
	name, port := registry.Endpoint(u)
	otherName, otherPort := registry.Endpoint(&url.URL{Scheme: u.Scheme, Host: host})
	return name == otherName && port == otherPort
}
