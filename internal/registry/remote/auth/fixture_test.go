package auth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// The secrets that must never be seen, in all forms that a test looks for.
const (
	password      = "canary-Passw0rd"
	identityToken = "canary-1dentity"
	registryToken = "canary-registry"
)

var (
	ci       = auth.Credential{Username: "ci", Password: password, Source: "~/.docker/config.json"}
	identity = auth.Credential{IdentityToken: identityToken, Source: "~/.docker/config.json"}
	nobody   = auth.Credential{Source: "no credentials were found in ~/.docker/config.json", Elsewhere: "run docker login ghcr.io"}
	pull     = auth.Scope{Repository: "acme/app", Actions: []string{"pull"}}
	push     = auth.Scope{Repository: "acme/app", Actions: []string{"pull", "push"}}
)

// issuer is a token endpoint. It gives out token-1, token-2 and so on, unless a
// test has it answer otherwise.
type issuer struct {
	answer http.HandlerFunc

	mu   sync.Mutex
	seen []*http.Request
}

func (i *issuer) send(req *http.Request) (*http.Response, error) {
	server := req.Clone(req.Context())
	server.RequestURI = req.URL.RequestURI()
	if err := server.ParseForm(); err != nil {
		return nil, err
	}
	i.mu.Lock()
	i.seen = append(i.seen, server)
	number := len(i.seen)
	i.mu.Unlock()
	recorder := httptest.NewRecorder()
	if i.answer != nil {
		i.answer(recorder, server)
	} else {
		fmt.Fprintf(recorder, `{"token": "token-%d", "expires_in": 300}`, number)
	}
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	resp := recorder.Result()
	resp.Request = req
	return resp, nil
}

// requests are the token requests so far.
func (i *issuer) requests() []*http.Request {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.seen)
}

// last is the only or last token request.
func (i *issuer) last(t *testing.T) *http.Request {
	t.Helper()
	seen := i.requests()
	if len(seen) == 0 {
		t.Fatal("no token was asked for")
	}
	return seen[len(seen)-1]
}

// answering is an issuer that answers with a status and a body.
func answering(status int, body string) *issuer {
	return &issuer{answer: func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}}
}

// clock is a time that passes when a test says so.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// options are those of ghcr.io with the tokens of an issuer.
func options(i *issuer) auth.AuthorizerOptions {
	return auth.AuthorizerOptions{Host: "ghcr.io", Origin: mustURL("https://ghcr.io"), Send: i.send, UserAgent: "test/1", Now: newClock().Now}
}

// optionsFor are those of a registry at origin, which names itself host.
func optionsFor(i *issuer, host, origin string) auth.AuthorizerOptions {
	o := options(i)
	o.Host, o.Origin = host, mustURL(origin)
	return o
}

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

// challenge is the header of a 401.
func challenge(lines ...string) http.Header { return http.Header{"Www-Authenticate": lines} }

// ghcr is the challenge of ghcr.io.
var ghcr = challenge(`Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:acme/app:pull"`)

// challenged is an Authorizer whose registry has answered once with header.
func challenged(t *testing.T, o auth.AuthorizerOptions, header http.Header, c auth.Credential, scopes ...auth.Scope) *auth.Authorizer {
	t.Helper()
	a := auth.NewAuthorizer(o)
	if err := a.Challenged(header, auth.Authorization{}, c, scopes...); err != nil {
		t.Fatalf("the challenge: %v", err)
	}
	return a
}

// authorize is the header that Authorize gives, which must succeed.
func authorize(t *testing.T, a *auth.Authorizer, c auth.Credential, scopes ...auth.Scope) string {
	t.Helper()
	return authorization(t, a, c, scopes...).Header.Reveal()
}

// authorization is Authorize, which must succeed.
func authorization(t *testing.T, a *auth.Authorizer, c auth.Credential, scopes ...auth.Scope) auth.Authorization {
	t.Helper()
	given, err := a.Authorize(t.Context(), c, scopes...)
	if err != nil {
		t.Fatal(err)
	}
	return given
}

// refused checks that err is an *Error of a kind whose text and hint have all
// the words, and no secret.
func refused(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	e, ok := errors.AsType[*registry.Error](err)
	if !ok || !errors.Is(e.Kind, kind) {
		t.Fatalf("the error is %v, not one that matches %q", err, kind)
	}
	text := e.Error() + "\n" + e.Hint
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("the error does not say %q:\n%s", word, text)
		}
	}
	noSecret(t, text)
}

// noSecret checks that there is no secret in text.
func noSecret(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{password, identityToken, registryToken} {
		if auth.Redact(text, auth.Secret(secret)) != text {
			t.Errorf("there is a secret in it:\n%s", text)
		}
	}
}

// config is a docker configuration with auths for the keys, each with its own
// user name and the password.
func config(users map[string]string) string {
	auths := map[string]any{}
	for key, user := range users {
		auths[key] = map[string]string{"auth": base64Of(user + ":" + password)}
	}
	content, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		panic(err)
	}
	return string(content)
}
