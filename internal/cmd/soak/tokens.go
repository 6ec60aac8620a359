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

// Who may have tokens.
const user, password = "soak", "not a secret"

const (
	// tokenLife is how long a token is good for that is not revoked before, as all
	// are with a sweep.
	tokenLife = 30 * time.Second
	// keyLasts is how long there is no other key at least: a request to a host of
	// which nothing is known is made with two tokens at most.
	keyLasts = patience
)

// tokens issues the tokens of a registry, which are good for a short time, and
// tells the registry which still are. Distribution's own token authentication
// takes a token for a minute longer than it is good for.
type tokens struct {
	realm string

	issued  atomic.Int64
	expired atomic.Int64 // requests that came with a token that was good no more

	mu      sync.Mutex
	good    map[string]grant
	revoked time.Time
}

// grant is what a token allows, and until when.
type grant struct {
	until  time.Time
	allows map[auth.Access]bool
}

func newTokens(realm string) *tokens {
	return &tokens{realm: realm, good: map[string]grant{}}
}

// ServeHTTP is the realm: it answers a request for a token.
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
	maps.DeleteFunc(t.good, func(_ string, g grant) bool { return now.After(g.until) })
	t.good[token] = grant{now.Add(tokenLife), allows}
	t.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": int(tokenLife.Seconds())})
}

// Authorized says for the registry whether a request may have what it wants.
func (t *tokens) Authorized(r *http.Request, wanted ...auth.Access) (*auth.Grant, error) {
	token, brought := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	t.mu.Lock()
	granted, ok := t.good[token]
	t.mu.Unlock()
	if !ok || time.Now().After(granted.until) {
		if brought {
			t.expired.Add(1)
		}
		return nil, t.challenge(wanted, auth.ErrInvalidCredential)
	}
	for _, access := range wanted {
		if !granted.allows[access] {
			return nil, t.challenge(wanted, auth.ErrAuthenticationFailure)
		}
	}
	return &auth.Grant{User: auth.UserInfo{Name: user}}, nil
}

// revoke ends the tokens, as a new key does that the registry checks them with,
// unless the one that there is is too new.
func (t *tokens) revoke() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.revoked) >= keyLasts {
		t.revoked = now
		clear(t.good)
	}
}

// challenge asks for a token in place of an answer.
type challenge struct {
	error
	header string
}

func (t *tokens) challenge(wanted []auth.Access, why error) challenge {
	var scopes []string
	for _, access := range wanted {
		scopes = append(scopes, access.Type+":"+access.Name+":"+access.Action)
	}
	return challenge{why, fmt.Sprintf(`Bearer realm=%q,service="soak",scope=%q`, t.realm, strings.Join(scopes, " "))}
}

// SetHeaders implements auth.Challenge.
func (c challenge) SetHeaders(_ *http.Request, w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", c.header)
}

// tokenAuth is what a registry's configuration calls this.
const tokenAuth = "soak"

func init() {
	// The error would be that of a second registration.
	_ = auth.Register(tokenAuth, func(parameters map[string]any) (auth.AccessController, error) {
		return parameters["tokens"].(*tokens), nil
	})
}
