package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/distribution/distribution/v3/registry/auth"
)

// The credentials of the registries.
const user, password = "soak", "not a secret"

const (
	// tokenLifetime is the lifetime of a token. A sweep revokes tokens earlier.
	tokenLifetime = 30 * time.Second
	// minKeyLifetime is the minimum time between two revocations. The engine tries a request to
	// a new host with at most two tokens.
	minKeyLifetime = stallTimeout
)

// tokens issues short-lived tokens for a registry and verifies them. Distribution's own token
// authentication is not used because it accepts tokens for a minute after they expire.
type tokens struct {
	realm string

	issued  atomic.Int64
	expired atomic.Int64 // requests with an expired token

	mu      sync.Mutex
	valid   map[string]grant
	revoked time.Time
}

// grant is the access that a token allows, and its expiry.
type grant struct {
	until  time.Time
	allows map[auth.Access]bool
}

func newTokens(realm string) *tokens {
	return &tokens{realm: realm, valid: map[string]grant{}}
}

// ServeHTTP serves the token endpoint.
func (t *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name, secret, _ := r.BasicAuth(); name != user || secret != password {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	allows := map[auth.Access]bool{}
	for _, scope := range r.URL.Query()["scope"] {
		kind, rest, _ := strings.Cut(scope, ":")
		name, actions, _ := strings.Cut(rest, ":")
		for action := range strings.SplitSeq(actions, ",") {
			allows[auth.Access{Resource: auth.Resource{Type: kind, Name: name}, Action: action}] = true
		}
	}
	token, now := rand.Text(), time.Now()
	t.issued.Add(1)
	t.mu.Lock()
	maps.DeleteFunc(t.valid, func(_ string, g grant) bool { return now.After(g.until) })
	t.valid[token] = grant{now.Add(tokenLifetime), allows}
	t.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": int(tokenLifetime.Seconds())})
}

// Authorized returns an error with a challenge if the request has no valid token for the
// requested access.
func (t *tokens) Authorized(r *http.Request, requested ...auth.Access) (*auth.Grant, error) {
	token, hasToken := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	t.mu.Lock()
	granted, ok := t.valid[token]
	t.mu.Unlock()
	if !ok || time.Now().After(granted.until) {
		if hasToken {
			t.expired.Add(1)
		}
		return nil, t.challenge(requested, auth.ErrInvalidCredential)
	}
	for _, access := range requested {
		if !granted.allows[access] {
			return nil, t.challenge(requested, auth.ErrAuthenticationFailure)
		}
	}
	return &auth.Grant{User: auth.UserInfo{Name: user}}, nil
}

// revoke invalidates all tokens, as if the registry had a new key to verify them. It does
// nothing if the last revocation is too recent.
func (t *tokens) revoke() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.revoked) >= minKeyLifetime {
		t.revoked = now
		clear(t.valid)
	}
}

// challenge is an authorization error with a WWW-Authenticate header.
type challenge struct {
	error
	header string
}

func (t *tokens) challenge(requested []auth.Access, why error) challenge {
	var scopes []string
	for _, access := range requested {
		scopes = append(scopes, access.Type+":"+access.Name+":"+access.Action)
	}
	return challenge{why, fmt.Sprintf(`Bearer realm=%q,service="soak",scope=%q`, t.realm, strings.Join(scopes, " "))}
}

// SetHeaders implements auth.Challenge.
func (c challenge) SetHeaders(_ *http.Request, w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", c.header)
}

// tokenAuth is the name of this access controller in a registry's configuration.
const tokenAuth = "soak"

func init() {
	// Register fails only for a second registration.
	_ = auth.Register(tokenAuth, func(parameters map[string]any) (auth.AccessController, error) {
		return parameters["tokens"].(*tokens), nil
	})
}
