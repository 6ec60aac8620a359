package auth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

func TestToken_Get(t *testing.T) {
	for name, test := range map[string]struct {
		credential     auth.Credential
		query          url.Values
		user, password string
	}{
		"credentials": {ci, url.Values{"service": {"ghcr.io"}, "scope": {"repository:acme/app:pull,push", "repository:base/os:pull"}, "account": {"ci"}}, "ci", password},
		"anonymous":   {anonymous, url.Values{"service": {"ghcr.io"}, "scope": {"repository:acme/app:pull,push", "repository:base/os:pull"}}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			i := &issuer{}
			a := challenged(t, options(i), ghcrChallenge, test.credential)
			authorize(t, a, test.credential, push, auth.Scope{Repository: "base/os", Actions: []string{"pull"}})
			req := i.lastRequest(t)
			user, pass, _ := req.BasicAuth()
			if req.Method != "GET" || !reflect.DeepEqual(req.URL.Query(), test.query) || user != test.user || pass != test.password {
				t.Errorf("token request = %s %s with %q, %q", req.Method, req.URL, user, pass)
			}
			if req.Header.Get("User-Agent") != "test/1" || req.Header.Get("Accept") != "application/json" {
				t.Errorf("token request header = %v", req.Header)
			}
		})
	}
}

func TestToken_IdentityToken(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), ghcrChallenge, identity)
	if got := authorize(t, a, identity, push, pull); got != "Bearer token-1" {
		t.Errorf("Authorize() = %q, want token-1", got)
	}
	req := i.lastRequest(t)
	want := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {identityToken}, "service": {"ghcr.io"},
		"client_id": {"terraform-provider-registry"}, "scope": {"repository:acme/app:pull,push"}}
	if req.Method != "POST" || !reflect.DeepEqual(req.Form, want) || req.URL.RawQuery != "" || req.Header.Get("Authorization") != "" {
		t.Errorf("token request = %s %s with %v, want %v", req.Method, req.URL, req.Form, want)
	}
}

// The second token request uses POST at once.
func TestToken_PostFallback(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusMethodNotAllowed} {
		i := &issuer{}
		i.handler = func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "GET" {
				w.WriteHeader(status)
				return
			}
			fmt.Fprint(w, `{"access_token": "posted"}`)
		}
		a := challenged(t, options(i), ghcrChallenge, ci)
		for _, scope := range []auth.Scope{pull, push} {
			if got := authorize(t, a, ci, scope); got != "Bearer posted" {
				t.Errorf("Authorize() = %q, want the token of POST", got)
			}
		}
		var methods []string
		for _, req := range i.requests() {
			methods = append(methods, req.Method)
		}
		if !reflect.DeepEqual(methods, []string{"GET", "POST", "POST"}) {
			t.Errorf("request methods = %v, want GET, POST, POST", methods)
		}
		want := url.Values{"grant_type": {"password"}, "username": {"ci"}, "password": {password}, "service": {"ghcr.io"},
			"client_id": {"terraform-provider-registry"}, "scope": {"repository:acme/app:pull,push"}}
		if got := i.lastRequest(t).Form; !reflect.DeepEqual(got, want) {
			t.Errorf("form = %v, want %v", got, want)
		}
	}
}

// The error is that of the GET.
func TestToken_EndpointNotFound(t *testing.T) {
	for c, requests := range map[*auth.Credential]int{&anonymous: 1, &ci: 2} {
		i := &issuer{handler: func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "POST" {
				w.WriteHeader(405)
				return
			}
			w.WriteHeader(404)
			fmt.Fprint(w, `{"errors": [{"code": "NOT_FOUND", "message": "no such namespace"}]}`)
		}}
		a := challenged(t, options(i), ghcrChallenge, *c)
		_, err := a.Authorize(t.Context(), *c, pull)
		assertError(t, err, registry.ErrProtocol, "HTTP 404", "NOT_FOUND", "no such namespace", "ghcr.io/acme/app")
		if errors.Is(err, registry.ErrNotFound) {
			t.Errorf("Authorize() error = %v, which matches ErrNotFound", err)
		}
		if len(i.requests()) != requests {
			t.Errorf("%d token requests, want %d", len(i.requests()), requests)
		}
	}
}

func TestToken_IdentityTokenWithoutPost(t *testing.T) {
	i := respondingIssuer(404, "")
	a := challenged(t, options(i), ghcrChallenge, identity)
	_, err := a.Authorize(t.Context(), identity, pull)
	assertError(t, err, registry.ErrProtocol, "HTTP 404")
	if len(i.requests()) != 1 {
		t.Errorf("%d token requests, want 1", len(i.requests()))
	}
}

func TestToken_PostRejected(t *testing.T) {
	i := &issuer{handler: func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			w.WriteHeader(404)
			return
		}
		w.WriteHeader(401)
	}}
	a := challenged(t, options(i), ghcrChallenge, ci)
	_, err := a.Authorize(t.Context(), ci, pull)
	assertError(t, err, registry.ErrUnauthorized, "HTTP 401")
}

// The next token is fetched before the expiry, by a quarter of the lifetime or 30 s, whichever is
// less.
func TestToken_Lifetime(t *testing.T) {
	for name, test := range map[string]struct {
		response string
		lifetime time.Duration
	}{
		"no_expires_in": {`{"token": "t"}`, 45 * time.Second},
		"null":          {`{"token": "t", "expires_in": null}`, 45 * time.Second},
		"zero":          {`{"token": "t", "expires_in": 0}`, 45 * time.Second},
		"negative":      {`{"token": "t", "expires_in": -3600}`, 45 * time.Second},
		"too_short":     {`{"token": "t", "expires_in": 5}`, 45 * time.Second},
		"text":          {`{"token": "t", "expires_in": "soon"}`, 45 * time.Second},
		"nan":           {`{"token": "t", "expires_in": "NaN"}`, 45 * time.Second},
		"object":        {`{"token": "t", "expires_in": {}}`, 45 * time.Second},
		"100_seconds":   {`{"token": "t", "expires_in": 100}`, 75 * time.Second},
		"300_seconds":   {`{"token": "t", "expires_in": 300}`, 270 * time.Second},
		"string":        {`{"token": "t", "expires_in": "300"}`, 270 * time.Second},
		"fraction":      {`{"token": "t", "expires_in": 300.5}`, 270*time.Second + 500*time.Millisecond},
		"day":           {`{"token": "t", "expires_in": 86400}`, time.Hour - 30*time.Second},
		"huge":          {`{"token": "t", "expires_in": 9e99}`, time.Hour - 30*time.Second},
		"overflow":      {`{"token": "t", "expires_in": 1e9999}`, time.Hour - 30*time.Second},
		"huge_integer":  {`{"token": "t", "expires_in": 18446744073709551}`, time.Hour - 30*time.Second},
		// The clock of the server is an hour fast or slow.
		"server_clock_fast": {`{"token": "t", "expires_in": 300, "issued_at": "2024-02-29T13:00:00Z"}`, 270 * time.Second},
		"server_clock_slow": {`{"token": "t", "expires_in": 300, "issued_at": "2024-02-29T11:00:00Z"}`, 270 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			i, clock := respondingIssuer(200, test.response), newClock()
			o := options(i)
			o.Now = clock.Now
			a := challenged(t, o, ghcrChallenge, ci)
			authorize(t, a, ci, pull)
			clock.advance(test.lifetime - time.Second)
			authorize(t, a, ci, pull)
			if n := len(i.requests()); n != 1 {
				t.Errorf("%d tokens were fetched a second before %s, want 1", n, test.lifetime)
			}
			clock.advance(time.Second)
			authorize(t, a, ci, pull)
			if n := len(i.requests()); n != 2 {
				t.Errorf("%d tokens were fetched after %s, want 2", n, test.lifetime)
			}
		})
	}
}

func TestToken_LifetimeFromRequest(t *testing.T) {
	clock := newClock()
	i := &issuer{}
	i.handler = func(w http.ResponseWriter, _ *http.Request) {
		clock.advance(200 * time.Second)
		fmt.Fprint(w, `{"token": "t", "expires_in": 300}`)
	}
	o := options(i)
	o.Now = clock.Now
	a := challenged(t, o, ghcrChallenge, ci)
	authorize(t, a, ci, pull)
	clock.advance(71 * time.Second)
	authorize(t, a, ci, pull)
	if n := len(i.requests()); n != 2 {
		t.Errorf("%d tokens were fetched, want 2", n)
	}
}

func TestToken_ResponseFields(t *testing.T) {
	for response, want := range map[string]string{
		`{"token": "a"}`:                                         "Bearer a",
		`{"access_token": "b"}`:                                  "Bearer b",
		`{"token": "a", "access_token": "b"}`:                    "Bearer a",
		`{"token": "", "access_token": "b"}`:                     "Bearer b",
		`{"token": null, "access_token": "b"}`:                   "Bearer b",
		`{"access_token": "ya29.a-b_c~d+e/f==", "scope": ["x"]}`: "Bearer ya29.a-b_c~d+e/f==",
	} {
		a := challenged(t, options(respondingIssuer(200, response)), ghcrChallenge, ci)
		if got := authorize(t, a, ci, pull); got != want {
			t.Errorf("Authorize() after %s = %q, want %q", response, got, want)
		}
	}
}

func TestToken_InvalidResponse(t *testing.T) {
	for response, kind := range map[string]error{
		``:                                     registry.ErrProtocol,
		`null`:                                 registry.ErrProtocol,
		`[]`:                                   registry.ErrProtocol,
		`{}`:                                   registry.ErrProtocol,
		`<html>Sign in</html>`:                 registry.ErrProtocol,
		`{"token": ""}`:                        registry.ErrProtocol,
		`{"token": 1}`:                         registry.ErrProtocol,
		`{"Token": "a"}`:                       registry.ErrProtocol,
		`{"token": "a"} x`:                     registry.ErrProtocol,
		`{"token": "a\r\nX: y"}`:               registry.ErrProtocol,
		`{"token": "a\n"}`:                     registry.ErrProtocol,
		`{"token": "a b"}`:                     registry.ErrProtocol,
		`{"token": "a\u0000"}`:                 registry.ErrProtocol,
		`{"token": "é"}`:                       registry.ErrProtocol,
		"{\"token\": \"\xff\"}":                registry.ErrProtocol,
		`{"token": "` + registryToken + `\n"}`: registry.ErrProtocol,
		`{"token": "a", "token": "b"}`:         registry.ErrProtocol,
		strings.Repeat("[", 10000):             registry.ErrProtocol,
		`{"token": "` + strings.Repeat("a", 16<<10+1) + `"}`:    registry.ErrProtocol,
		`{"token": "` + strings.Repeat("a", 64<<10) + `"}`:      registry.ErrLimit,
		`{"token": "a"}` + strings.Repeat(" ", 1<<20):           registry.ErrLimit,
		`{"token": "a", "x": "` + strings.Repeat("x", 1<<20):    registry.ErrLimit,
		`{"token": "` + strings.Repeat("a", 65<<10) + "\r\n\"}": registry.ErrLimit,
	} {
		i := respondingIssuer(200, response)
		a := challenged(t, options(i), ghcrChallenge, ci)
		_, err := a.Authorize(t.Context(), ci, pull)
		assertError(t, err, kind, "ghcr.io/acme/app: cannot fetch a token: the token endpoint at ghcr.io: ", "does not issue tokens", "its realm")
		if len(err.Error()) > 1000 {
			t.Errorf("the error has %d bytes, want at most 1000", len(err.Error()))
		}
	}
}

func TestToken_HTMLResponse(t *testing.T) {
	i := &issuer{handler: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<html>")
	}}
	a := challenged(t, options(i), ghcrChallenge, ci)
	_, err := a.Authorize(t.Context(), ci, pull)
	assertError(t, err, registry.ErrProtocol, "ghcr.io", "text/html")
}

// A longer token is a case of TestToken_InvalidResponse.
func TestToken_MaxLength(t *testing.T) {
	token := strings.Repeat("a", 16<<10)
	a := challenged(t, options(respondingIssuer(200, `{"token": "`+token+`"}`)), ghcrChallenge, ci)
	if got := authorize(t, a, ci, pull); got != "Bearer "+token {
		t.Error("Authorize() did not return the token")
	}
}

func TestToken_Log(t *testing.T) {
	var log bytes.Buffer
	i := respondingIssuer(200, `{"token": "`+registryToken+`", "expires_in": 300}`)
	o := options(i)
	o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a := challenged(t, o, bearerAt("https://ghcr.io/token?sig="+password), ci)
	authorize(t, a, ci, push)
	for _, word := range []string{"fetched a token", "host=ghcr.io", "repository:acme/app:pull,push", "lifetime=5m0s", "https://ghcr.io/token?sig="} {
		if !strings.Contains(log.String(), word) {
			t.Errorf("the log does not contain %q:\n%s", word, log.String())
		}
	}
	assertNoSecret(t, log.String())
}

// A registry that received the credentials can repeat them in the realm of its next challenge.
func TestToken_LogRedactsRealm(t *testing.T) {
	for _, c := range []auth.Credential{ci, identity} {
		var log bytes.Buffer
		o := options(&issuer{})
		o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		a := challenged(t, o, bearerAt("https://ghcr.io/"+(c.Password+c.IdentityToken).Reveal()+"/"+base64Of("ci:"+c.Password.Reveal())), c)
		authorize(t, a, c, pull)
		assertNoSecret(t, log.String())
		if c.Password != "" && !strings.Contains(log.String(), "realm=https://ghcr.io/***/") {
			t.Errorf("log = %s\nwant the realm redacted", log.String())
		}
	}
}

// The test uses real connections to a registry and a token endpoint.
func TestAuthorizer_EndToEnd(t *testing.T) {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		if user, pass, _ := r.BasicAuth(); user != "ci" || pass != password {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"token": "for-%s"}`, r.URL.Query().Get("scope"))
	})
	mux.HandleFunc("/v2/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer for-repository:acme/app:pull" {
			w.Header().Add("WWW-Authenticate", `Bearer realm="`+server.URL+`/token",service="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	u := mustURL(server.URL)
	a := auth.NewAuthorizer(auth.AuthorizerOptions{Host: u.Host, Origin: u, Send: http.DefaultTransport.RoundTrip})
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()

	get := func() (*http.Response, auth.Authorization) {
		authorized := authorization(t, a, ci, pull)
		req, err := http.NewRequestWithContext(context.Background(), "GET", server.URL+"/v2/acme/app/manifests/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if authorized.Header != "" {
			req.Header.Set("Authorization", authorized.Header.Reveal())
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp, authorized
	}
	resp, used := get()
	if used.Header != "" || resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("first request with %q: status = %s, want no header and 401", used.Header.Reveal(), resp.Status)
	}
	if err := a.Challenged(resp.Header, used, ci, pull); err != nil {
		t.Fatal(err)
	}
	if resp, used = get(); resp.StatusCode != http.StatusOK {
		t.Errorf("second request with %q: status = %s, want 200", used.Header.Reveal(), resp.Status)
	}
}
