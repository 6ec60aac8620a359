package auth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Challenged is told of a 401 that the registry's own origin gave, never of a
// redirect's: the header it came with, and the Authorization that the request
// had. It remembers what the registry wants and forgets the token that was
// refused, with the others that serve the same scopes, unless they were asked for
// after it was known. It returns nil where another try is worthwhile, with what
// Authorize then gives.
//
// Otherwise it returns a *registry.Error that matches ErrUnauthorized (nothing
// that c has is wanted, or it was refused), ErrForbiddenRedirect (c must not be sent
// where the registry wants it) or ErrProtocol (the challenge makes no sense). A
// token that is refused is always worth another; counting is the caller's.
func (a *Authorizer) Challenged(header http.Header, used Authorization, c Credential, scopes ...Scope) error {
	// Not before it is known where the next one is to come from.
	defer a.discardTokens(used.token, c, scopes)
	challenges, err := parseChallenges(header.Values("WWW-Authenticate"))
	if err != nil {
		return a.unauthorized(scopes, registry.ErrProtocol, err.Error(), "")
	}
	if len(challenges) == 0 {
		hint := "It does not say how to log in, so that no login was sent: look for a proxy on the way, or ask those who run the registry."
		return a.unauthorized(scopes, registry.ErrUnauthorized, "it does not say how to authenticate (there is no WWW-Authenticate header)", hint)
	}
	wanted, err := a.chooseChallenge(challenges, c)
	if err != nil {
		return a.withRepository(scopes, err)
	}
	if wanted.realm == nil && basic(c) == "" && used.token != nil {
		// Harbor answers a refused token with a Basic challenge. A fresh token
		// is what helps.
		return nil
	}
	a.mu.Lock()
	a.params = &wanted
	a.mu.Unlock()
	return a.checkCredential(wanted, used.Header.Reveal(), c, scopes)
}

// IsTokenChallenge reports whether a header contains a Bearer challenge with an absolute
// realm, which only registries send ("Token Authentication Specification").
func IsTokenChallenge(header http.Header) bool {
	challenges, err := parseChallenges(header.Values("WWW-Authenticate"))
	return err == nil && slices.ContainsFunc(challenges, func(ch challenge) bool {
		realm, err := url.Parse(ch.params["realm"])
		return ch.scheme == "bearer" && err == nil && realm.Host != "" && (realm.Scheme == "https" || realm.Scheme == "http")
	})
}

// AssumeBasic makes Authorize use Basic authentication if the registry has sent no
// challenge.
func (a *Authorizer) AssumeBasic() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.params == nil {
		a.params = &authParams{}
	}
}

// Preemptive returns the authorization that c can provide without a challenge: Basic
// authentication, or a registry token. It is the zero value if c needs a token server.
func Preemptive(c Credential) Authorization {
	if c.RegistryToken != "" && isHeaderSafe(c.RegistryToken.Reveal()) {
		return Authorization{Header: Secret(bearer(c.RegistryToken))}
	}
	return Authorization{Header: Secret(basic(c))}
}

// checkCredential says why what c has will not do.
func (a *Authorizer) checkCredential(wanted authParams, used string, c Credential, scopes []Scope) error {
	message, hint := "", c.Advice(a.options.Host)
	switch {
	case wanted.realm != nil && (c.RegistryToken == "" || used != bearer(c.RegistryToken)):
		return nil
	case wanted.realm != nil:
		message = "the registry token was refused"
	case basic(c) == "" && c.Anonymous():
		message = "a user name and a password are wanted"
	case basic(c) == "":
		message = "a user name and a password are wanted, and there is only a token"
		hint = c.AdviceTo(a.options.Host, "This registry takes a user name and a password and no token: set "+registry.Setting(a.options.Host, `username = "…", password = "…"`)+".")
	case used != basic(c):
		return nil
	default:
		message = "the user name and password were refused"
	}
	return a.unauthorized(scopes, registry.ErrUnauthorized, message, hint)
}

// chooseChallenge picks the challenge to answer: a token, where the credential may go to
// where tokens are, or else Basic, which stays with the registry.
//
// The scope of a challenge is ignored: what a token may do follows from the operation, and a registry
// that could add to it would get a token to push for a request that only reads.
func (a *Authorizer) chooseChallenge(challenges []challenge, c Credential) (authParams, error) {
	var refusal error
	for _, ch := range challenges {
		if ch.scheme != "bearer" {
			continue
		}
		realm, err := a.realm(ch.params["realm"])
		if err == nil && c.RegistryToken == "" && !a.isTrustedRealm(realm, c) {
			err = a.untrustedRealm(realm, c)
		}
		if err == nil {
			return authParams{realm, ch.params["service"]}, nil
		}
		if refusal == nil {
			refusal = err
		}
	}
	var schemes []string
	for _, ch := range challenges {
		if ch.scheme == "basic" && (refusal == nil || basic(c) != "") {
			return authParams{}, nil
		}
		schemes = append(schemes, registry.Sanitize(ch.scheme))
	}
	if refusal == nil {
		refusal = &registry.Error{Op: "authenticate", Status: http.StatusUnauthorized, Kind: registry.ErrUnauthorized,
			Message: fmt.Sprintf("it wants %s authentication, and only Basic and Bearer are known here", strings.Join(schemes, " or ")),
			Hint: fmt.Sprintf("It wants %s authentication, and no container tool can log in like this. Look whether a proxy before the registry asks for it, or ask those who run the registry.",
				strings.Join(schemes, " or "))}
	}
	return authParams{}, refusal
}

// discardTokens drops the token that a request was refused with, and the others that it
// could have had instead: a registry that takes tokens for a shorter time than
// they say, or that checks them with a new key, would refuse them one by one. Nor
// will those do that were asked for and are still to come: they may be from before
// that. What was asked for since the first refusal stays while more requests are
// refused with what is older, so that all of them cause one fetch.
func (a *Authorizer) discardTokens(used *token, c Credential, scopes []Scope) {
	p, wanted := tokenKeyOf(c, scopes), normalizeScopes(scopes)
	a.mu.Lock()
	defer a.mu.Unlock()
	if used == nil || used.number <= a.refused[p] {
		return
	}
	if used.number > a.suspect[p.identity] {
		a.suspect[p.identity] = a.requested
	}
	last := a.suspect[p.identity]
	a.refused[p] = last
	a.setTokens(p.identity, slices.DeleteFunc(a.tokens[p.identity], func(t *token) bool {
		return t.number <= last && covers(t.scopes, wanted)
	}))
}

// unauthorized is the error of a 401 that nothing here can answer.
func (a *Authorizer) unauthorized(scopes []Scope, kind error, message, hint string) error {
	return a.withRepository(scopes, &registry.Error{Op: "authenticate", Status: http.StatusUnauthorized, Kind: kind, Message: message, Hint: hint})
}

// withRepository names the repository in an error, where the request was about one, or
// else the registry.
func (a *Authorizer) withRepository(scopes []Scope, err error) error {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		return err
	}
	named := *e
	named.Repository = a.options.Host
	if len(scopes) == 1 {
		named.Repository += "/" + scopes[0].Repository
	}
	return &named
}
