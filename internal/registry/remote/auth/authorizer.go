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

// AuthorizerOptions are what an Authorizer is made of.
type AuthorizerOptions struct {
	// Host is the registry as references name it: "docker.io".
	Host string
	// Origin is scheme://host[:port] of its API.
	Origin *url.URL
	// Send sends a token request. It follows no redirect, and refuses to
	// connect where a registry has no business to point at.
	Send func(*http.Request) (*http.Response, error)
	// Allowed says of a realm's host, by its name alone, whether Send would not
	// refuse to connect to it; nil where every one is. What would be refused all
	// the same must not be advised to allow.
	Allowed func(realm *url.URL) bool
	// UserAgent goes with every token request.
	UserAgent string
	// Now is the clock that the life of tokens goes by; time.Now where nil.
	Now func() time.Time
	// Logger is told of each token that was fetched; nowhere where nil.
	Logger *slog.Logger
}

// Authorizer answers the challenges of one registry. It remembers what the
// registry wants, so that nothing has to be asked beforehand, and the tokens
// that it was given. It is safe for concurrent use.
type Authorizer struct {
	options AuthorizerOptions
	fetches singleflight[fetchKey, *token]
	// postOnly is set when the token endpoint was seen to refuse GET.
	postOnly atomic.Bool

	mu     sync.Mutex
	params *authParams
	tokens map[identity][]*token
	// requested counts the tokens that were requested for, and numbers them. Those up to
	// suspect were requested for before the registry refused one: it says nothing new
	// when it refuses another of them. None up to refused serves that purpose.
	requested int
	suspect   map[identity]int
	refused   map[tokenKey]int
}

// authParams is what a registry wants to see: Basic, or a token from realm.
type authParams struct {
	realm   *url.URL // nil: Basic
	service string
}

// identity is a credential as a key: what makes two of them the same.
type identity struct {
	username                string
	password, identityToken Secret
}

// tokenKey is what a token is for: who asks, and the scopes.
type tokenKey struct {
	identity
	scopes string
}

// fetchKey is what callers share one fetch for: a token that is asked for after the
// one of that number.
type fetchKey struct {
	tokenKey
	after int
}

// Authorization is what proves who asks. The zero value is that of a request
// that goes without.
type Authorization struct {
	// Header is the content of the header, "" for none.
	Header Secret
	token  *token // what is in it, where it was fetched
}

// NewAuthorizer makes the Authorizer of one registry.
func NewAuthorizer(o AuthorizerOptions) *Authorizer {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Authorizer{options: o, tokens: map[identity][]*token{}, suspect: map[identity]int{}, refused: map[tokenKey]int{}}
}

// Format says nothing of what is inside.
func (a *Authorizer) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "authorizer of "+a.options.Host)
}

// Authorize returns the Authorization of a request to the registry that needs
// scopes, the zero value where it should go without: the registry has not asked
// for anything yet, or for nothing that c can give (its next 401 then says so).
// Where it wants a token, one that is at hand and covers the scopes serves;
// otherwise one is fetched, once however many callers want the same. Where one was
// refused, only those serve that were asked for afterwards.
//
// The error is a *registry.Error. It matches ErrUnauthorized or ErrDenied where
// the token endpoint refuses the credential, ErrRateLimited or ErrUnavailable
// where trying again may help (then something in its chain may have a method
// RetryAfter() time.Duration), ErrForbiddenRedirect for a redirect, ErrLimit and
// ErrProtocol for an answer that is no token, and ErrCredentials for a registry
// token that no header can carry.
func (a *Authorizer) Authorize(ctx context.Context, c Credential, scopes ...Scope) (Authorization, error) {
	p := tokenKeyOf(c, scopes)
	a.mu.Lock()
	wanted, after := a.params, a.refused[p]
	scopes = normalizeScopes(scopes)
	// Looked for at the same moment: no token is fetched from where the registry
	// does not want them any more.
	t := a.cachedToken(p.identity, scopes, after)
	a.mu.Unlock()
	switch {
	case wanted == nil:
		return Authorization{}, nil
	case wanted.realm == nil:
		return Authorization{Header: Secret(basic(c))}, nil
	case c.RegistryToken != "":
		if !isHeaderSafe(c.RegistryToken.Reveal()) {
			return Authorization{}, a.withRepository(scopes, &registry.Error{Op: "authenticate", Kind: registry.ErrCredentials,
				Message: "the registry token has characters that no header can carry", Hint: c.Advice(a.options.Host)})
		}
		return Authorization{Header: Secret(bearer(c.RegistryToken))}, nil
	case !a.isTrustedRealm(wanted.realm, c):
		return Authorization{}, nil
	}
	if t == nil {
		var err error
		if t, err = a.getToken(ctx, c, *wanted, scopes, after); err != nil {
			return Authorization{}, a.withRepository(scopes, err)
		}
	}
	return Authorization{Secret(bearer(t.value)), t}, nil
}

// getToken fetches a getToken that covers the scopes, or waits for one that another
// caller asked for after the one of that number.
func (a *Authorizer) getToken(ctx context.Context, c Credential, wanted authParams, scopes []Scope, after int) (*token, error) {
	p := tokenKeyOf(c, scopes)
	t, err := a.fetches.do(ctx, fetchKey{p, after}, func(ctx context.Context) (*token, error) {
		// It may have come while this caller was on the way here.
		a.mu.Lock()
		if t := a.cachedToken(p.identity, scopes, after); t != nil {
			a.mu.Unlock()
			return t, nil
		}
		a.requested++
		number := a.requested
		a.mu.Unlock()
		t, err := a.fetch(ctx, c, wanted, scopes)
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

// cachedToken finds a token that is good for the scopes and will be for a while,
// the last that was asked for, or nil where that was not after the one of that
// number. It is called with mu held.
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

// maxTokens is how many tokens are kept of one who asks. Each repository needs
// one or two, and one that was dropped is fetched again.
const maxTokens = 256

// cacheToken keeps a token, in place of older ones that it makes superfluous, of all
// whose time has come, and of the oldest where there are too many.
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
