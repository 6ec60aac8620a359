package auth

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// AuthorizerOptions are the options of an Authorizer.
type AuthorizerOptions struct {
	// Host is the host of the registry as in references: "docker.io".
	Host string
	// Origin is scheme://host[:port] of its API.
	Origin *url.URL
	// Send sends a token request. It must not follow redirects, and must not
	// connect to addresses that a registry may not point to.
	Send func(*http.Request) (*http.Response, error)
	// Allowed reports whether Send can connect to the host of a realm, judged by
	// its name. If nil, every host is allowed. A hint must not suggest token_hosts
	// for a host that Send does not connect to.
	Allowed func(realm *url.URL) bool
	// UserAgent is the User-Agent header of token requests.
	UserAgent string
	// Now is the clock for the lifetime of tokens. It defaults to time.Now.
	Now func() time.Time
	// Logger logs each fetched token. If nil, nothing is logged.
	Logger *slog.Logger
}

// Authorizer answers the challenges of one registry. It caches the authentication
// parameters and the tokens, so that later requests need no new challenge. It is
// safe for concurrent use.
type Authorizer struct {
	options AuthorizerOptions
	fetches singleflight[fetchKey, *token]
	// postOnly is set after the token endpoint rejected GET and accepted POST.
	postOnly atomic.Bool

	mu     sync.Mutex
	params *authParams
	tokens map[identity][]*token
	// requested is the number of token requests. It numbers the tokens. Tokens up to
	// suspect were requested before the registry refused one, so that further refusals of
	// them do not count. Tokens up to refused are not used for their tokenKey.
	requested int
	suspect   map[identity]int
	refused   map[tokenKey]int
}

// authParams are the parameters of a challenge: Basic, or a token from realm.
type authParams struct {
	realm   *url.URL // nil: Basic
	service string
}

// identity is the part of a credential that distinguishes token requests.
type identity struct {
	username                string
	password, identityToken Secret
}

// tokenKey identifies tokens by credential and scopes.
type tokenKey struct {
	identity
	scopes string
}

// fetchKey identifies a fetch that callers share: of a token that is requested
// after the one with number after.
type fetchKey struct {
	tokenKey
	after int
}

// Authorization is the authentication of a request. The zero value is a request
// without authentication.
type Authorization struct {
	// Header is the value of the Authorization header, "" for none.
	Header Secret
	token  *token // the token in Header, if it was fetched
}

// NewAuthorizer returns the Authorizer of one registry.
func NewAuthorizer(o AuthorizerOptions) *Authorizer {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Authorizer{options: o, tokens: map[identity][]*token{}, suspect: map[identity]int{}, refused: map[tokenKey]int{}}
}

// Format writes no secrets.
func (a *Authorizer) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "authorizer of "+a.options.Host)
}

// Authorize returns the Authorization of a request to the registry that needs
// scopes. It returns the zero value if the request should be sent without: the
// registry has sent no challenge, or c cannot answer it (the next 401 then reports
// why). If the registry requires a token, Authorize returns a cached token that
// covers the scopes, or fetches one. Concurrent callers with the same scopes share
// one fetch. After a token was refused, only tokens that were requested afterwards
// are used.
//
// The error is a *registry.Error. It matches:
//
//   - ErrUnauthorized or ErrDenied if the token endpoint rejects the credential,
//   - ErrRateLimited or ErrUnavailable if a retry may help; the error may then wrap one
//     with a method RetryAfter() time.Duration,
//   - ErrForbiddenRedirect for a redirect,
//   - ErrLimit and ErrProtocol for a response without a valid token,
//   - ErrCredentials for a registry token that is not valid in a header.
func (a *Authorizer) Authorize(ctx context.Context, c Credential, scopes ...Scope) (Authorization, error) {
	p := tokenKeyOf(c, scopes)
	a.mu.Lock()
	params, after := a.params, a.refused[p]
	scopes = normalizeScopes(scopes)
	// Look up the token under the same lock, so that it is not fetched from a realm
	// that the registry no longer uses.
	t := a.cachedToken(p.identity, scopes, after)
	a.mu.Unlock()
	switch {
	case params == nil:
		return Authorization{}, nil
	case params.realm == nil:
		return Authorization{Header: Secret(basic(c))}, nil
	case c.RegistryToken != "":
		if !isHeaderSafe(c.RegistryToken.Reveal()) {
			return Authorization{}, a.withRepository(scopes, &registry.Error{Op: "authenticate", Kind: registry.ErrCredentials,
				Message: "the registry token has characters that no header can carry", Hint: c.Advice(a.options.Host)})
		}
		return Authorization{Header: Secret(bearer(c.RegistryToken))}, nil
	case !a.isTrustedRealm(params.realm, c):
		return Authorization{}, nil
	}
	if t == nil {
		var err error
		if t, err = a.getToken(ctx, c, *params, scopes, after); err != nil {
			return Authorization{}, a.withRepository(scopes, err)
		}
	}
	return Authorization{Secret(bearer(t.value)), t}, nil
}

// getToken fetches a token that covers the scopes. It joins the fetch of another
// caller if that requests a token after the one with number after.
func (a *Authorizer) getToken(ctx context.Context, c Credential, params authParams, scopes []Scope, after int) (*token, error) {
	p := tokenKeyOf(c, scopes)
	t, err := a.fetches.do(ctx, fetchKey{p, after}, func(ctx context.Context) (*token, error) {
		// Another caller may have cached the token in the meantime.
		a.mu.Lock()
		if t := a.cachedToken(p.identity, scopes, after); t != nil {
			a.mu.Unlock()
			return t, nil
		}
		a.requested++
		number := a.requested
		a.mu.Unlock()
		t, err := a.fetch(ctx, c, params, scopes)
		if err != nil {
			return nil, err
		}
		t.number = number
		a.cacheToken(p.identity, t)
		return t, nil
	})
	if err != nil && ctx.Err() != nil {
		err = &registry.Error{Op: "fetch a token", Kind: registry.ErrUnavailable, Err: context.Cause(ctx)}
	}
	return t, err
}

// cachedToken returns the most recently requested token that covers the scopes and is not
// due for a refresh. Its number must be greater than after. It returns nil if the cache has
// no such token. The caller holds mu.
func (a *Authorizer) cachedToken(id identity, scopes []Scope, after int) *token {
	var found *token
	now := a.options.Now()
	for _, t := range a.tokens[id] {
		if t.number > after && now.Before(t.refresh) && covers(t.scopes, scopes) {
			found, after = t, t.number
		}
	}
	return found
}

// maxTokens is how many tokens are cached per identity. Each repository needs one
// or two, and a discarded token is fetched again.
const maxTokens = 256

// cacheToken caches a token. It removes older tokens that the new one replaces,
// tokens that are due for a refresh, and the oldest ones if there are too many.
func (a *Authorizer) cacheToken(id identity, fresh *token) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.options.Now()
	for other, list := range a.tokens {
		a.setTokens(other, slices.DeleteFunc(list, func(t *token) bool {
			return !now.Before(t.refresh) || other == id && t.number < fresh.number && covers(fresh.scopes, t.scopes)
		}))
	}
	a.tokens[id] = append(a.tokens[id], fresh)
	if surplus := len(a.tokens[id]) - maxTokens; surplus > 0 {
		a.tokens[id] = slices.Delete(a.tokens[id], 0, surplus)
	}
}

func (a *Authorizer) setTokens(id identity, list []*token) {
	if len(list) == 0 {
		delete(a.tokens, id)
		return
	}
	a.tokens[id] = list
}

func identityOf(c Credential) identity { return identity{c.Username, c.Password, c.IdentityToken} }

func tokenKeyOf(c Credential, scopes []Scope) tokenKey {
	return tokenKey{identityOf(c), scopeParam(normalizeScopes(scopes))}
}
