package auth_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// The secrets that no output may contain in any form.
const (
	password      = "canary-Passw0rd"
	identityToken = "canary-1dentity"
	registryToken = "canary-registry"
)

var (
	ci        = auth.Credential{Username: "ci", Password: password, Source: "~/.docker/config.json"}
	identity  = auth.Credential{IdentityToken: identityToken, Source: "~/.docker/config.json"}
	anonymous = auth.Credential{Source: "no credentials were found in ~/.docker/config.json", Elsewhere: "run docker login ghcr.io"}
	pull      = auth.Scope{Repository: "acme/app", Actions: []string{"pull"}}
	push      = auth.Scope{Repository: "acme/app", Actions: []string{"pull", "push"}}
)

// issuer is a token endpoint. It issues token-1, token-2 and so on, unless a test sets
// handler.
type issuer struct {
	handler http.HandlerFunc

	mu       sync.Mutex
	received []*http.Request
}

func (i *issuer) send(req *http.Request) (*http.Response, error) {
	server := req.Clone(req.Context())
	server.RequestURI = req.URL.RequestURI()
	if err := server.ParseForm(); err != nil {
		return nil, err
	}
	i.mu.Lock()
	i.received = append(i.received, server)
	number := len(i.received)
	i.mu.Unlock()
	recorder := httptest.NewRecorder()
	if i.handler != nil {
		i.handler(recorder, server)
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

// requests returns the token requests so far.
func (i *issuer) requests() []*http.Request {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.received)
}

// lastRequest returns the last token request.
func (i *issuer) lastRequest(t *testing.T) *http.Request {
	t.Helper()
	received := i.requests()
	if len(received) == 0 {
		t.Fatal("no token request was sent")
	}
	return received[len(received)-1]
}

// respondingIssuer returns an issuer that responds with a status and a body.
func respondingIssuer(status int, body string) *issuer {
	return &issuer{handler: func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}}
}

// clock is a clock that only tests advance.
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

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// options returns the options of ghcr.io with an issuer as the token endpoint.
func options(i *issuer) auth.AuthorizerOptions {
	return auth.AuthorizerOptions{Host: "ghcr.io", Origin: mustURL("https://ghcr.io"), Send: i.send, UserAgent: "test/1", Now: newClock().Now}
}

// optionsFor returns the options of the registry host at origin.
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

// challenge returns the header of a 401 response.
func challenge(lines ...string) http.Header { return http.Header{"Www-Authenticate": lines} }

// ghcrChallenge is the challenge of ghcr.io.
var ghcrChallenge = challenge(`Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:acme/app:pull"`)

// challenged returns an Authorizer that has processed one challenge.
func challenged(t *testing.T, o auth.AuthorizerOptions, header http.Header, c auth.Credential, scopes ...auth.Scope) *auth.Authorizer {
	t.Helper()
	a := auth.NewAuthorizer(o)
	if err := a.Challenged(header, auth.Authorization{}, c, scopes...); err != nil {
		t.Fatalf("Challenged() error = %v", err)
	}
	return a
}

// authorize returns the header of Authorize, which must succeed.
func authorize(t *testing.T, a *auth.Authorizer, c auth.Credential, scopes ...auth.Scope) string {
	t.Helper()
	return authorization(t, a, c, scopes...).Header.Reveal()
}

// authorization returns the result of Authorize, which must succeed.
func authorization(t *testing.T, a *auth.Authorizer, c auth.Credential, scopes ...auth.Scope) auth.Authorization {
	t.Helper()
	result, err := a.Authorize(t.Context(), c, scopes...)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// assertError checks that err is an *Error of a kind, and that its text and hint contain
// all the words and no secret.
func assertError(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	e, ok := errors.AsType[*registry.Error](err)
	if !ok || !errors.Is(e.Kind, kind) {
		t.Fatalf("error = %v, want an *Error of kind %q", err, kind)
	}
	text := e.Error() + "\n" + e.Hint
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("the error does not contain %q:\n%s", word, text)
		}
	}
	assertNoSecret(t, text)
}

// assertNoSecret checks that text contains no secret.
func assertNoSecret(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{password, identityToken, registryToken} {
		if auth.Redact(text, auth.Secret(secret)) != text {
			t.Errorf("the text contains a secret:\n%s", text)
		}
	}
}

// config returns a docker configuration with auths for the keys, each with its own user
// name and the password.
func config(assertUsernames map[string]string) string {
	auths := map[string]any{}
	for key, user := range assertUsernames {
		auths[key] = map[string]string{"auth": base64Of(user + ":" + password)}
	}
	content, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		panic(err)
	}
	return string(content)
}

// base64Of returns s in standard base64.
func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// killChild kills the child of a helper, whose process ID is in a file.
func killChild(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	id, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	child, err := os.FindProcess(id)
	if err == nil {
		err = child.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
}
