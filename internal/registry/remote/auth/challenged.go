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

// Challenged processes a 401 response of the registry's own origin; it must not be
// called for a response after a redirect. header is the response header, and used
// is the Authorization of the request. Challenged stores the parameters of the
// challenge. It discards the refused token, and the cached tokens for the same
// scopes, unless they were requested after the first refusal. It returns nil if the
// caller should retry with a new Authorization from Authorize.
//
// Otherwise it returns a *registry.Error. It matches ErrUnauthorized if c cannot answer the
// challenge or was rejected, ErrForbiddenRedirect if c must not be sent to the realm, and
// ErrProtocol if the challenge is malformed. Challenged allows any number of retries after
// refused tokens; the caller must limit them.
func (a *Authorizer) Challenged(header http.Header, used Authorization, c Credential, scopes ...Scope) error {
	// Discard the token only after the parameters for the next one are stored.
	defer a.discardTokens(used.token, c, scopes)
	challenges, err := parseChallenges(header.Values("WWW-Authenticate"))
	if err != nil {
		return a.unauthorized(scopes, registry.ErrProtocol, err.Error(), "")
	}
	if len(challenges) == 0 {
		hint := "It does not say how to log in, so that no login was sent: look for a proxy on the way, or ask those who run the registry."
		return a.unauthorized(scopes, registry.ErrUnauthorized, "it does not say how to authenticate (there is no WWW-Authenticate header)", hint)
	}
	params, err := a.chooseChallenge(challenges, c)
	if err != nil {
		return a.withRepository(scopes, err)
	}
	if params.realm == nil && basic(c) == "" && used.token != nil {
		// Harbor responds to a refused token with a Basic challenge. A new token is
		// needed.
		return nil
	}
	a.mu.Lock()
	a.params = &params
	a.mu.Unlock()
	return a.checkCredential(params, used.Header.Reveal(), c, scopes)
}

// IsTokenChallenge reports whether a header contains a Bearer challenge with an
// absolute realm. Only registries send it ("Token Authentication Specification").
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

// checkCredential returns an error if c cannot answer the challenge, or was
// rejected.
func (a *Authorizer) checkCredential(params authParams, used string, c Credential, scopes []Scope) error {
	message, hint := "", c.Advice(a.options.Host)
	switch {
	case params.realm != nil && (c.RegistryToken == "" || used != bearer(c.RegistryToken)):
		return nil
	case params.realm != nil:
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

// chooseChallenge returns the parameters of the challenge to answer: a token if the
// realm may receive the credential, or else Basic, which is sent only to the
// registry.
//
// The scope of a challenge is ignored, because the operation determines the scope.
// A registry that could extend it would get a token to push for a request that only
// reads.
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

// discardTokens discards the token that the registry refused, and the cached tokens
// that could have been used instead. A registry that expires tokens early, or that
// has changed its key, would refuse them one by one. Tokens that were requested but
// not yet received are not used either, because they may be as old. Tokens that
// were requested after the first refusal are kept while the registry refuses older
// ones, so that concurrent refusals cause one fetch.
func (a *Authorizer) discardTokens(used *token, c Credential, scopes []Scope) {
	p, scopes := tokenKeyOf(c, scopes), normalizeScopes(scopes)
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
		return t.number <= last && covers(t.scopes, scopes)
	}))
}

// unauthorized returns the error for a 401 that c cannot answer.
func (a *Authorizer) unauthorized(scopes []Scope, kind error, message, hint string) error {
	return a.withRepository(scopes, &registry.Error{Op: "authenticate", Status: http.StatusUnauthorized, Kind: kind, Message: message, Hint: hint})
}

// withRepository adds the repository to an error if the request was about a single
// one, or else the host of the registry.
func (a *Authorizer) withRepository(scopes []Scope, err error) error {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		return err
	}
	result := *e
	result.Repository = a.options.Host
	if len(scopes) == 1 {
		result.Repository += "/" + scopes[0].Repository
	}
	return &result
}
