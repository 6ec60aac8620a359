package auth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

func TestATokenByGet(t *testing.T) {
	for name, test := range map[string]struct {
		credential     auth.Credential
		query          url.Values
		user, password string
	}{
		"with credentials": {ci, url.Values{"service": {"ghcr.io"}, "scope": {"repository:acme/app:pull,push", "repository:base/os:pull"}, "account": {"ci"}}, "ci", password},
		"anonymous":        {nobody, url.Values{"service": {"ghcr.io"}, "scope": {"repository:acme/app:pull,push", "repository:base/os:pull"}}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			i := &issuer{}
			a := challenged(t, options(i), ghcr, test.credential)
			authorize(t, a, test.credential, push, auth.Scope{Repository: "base/os", Actions: []string{"pull"}})
			req := i.last(t)
			user, pass, _ := req.BasicAuth()
			if req.Method != "GET" || !reflect.DeepEqual(req.URL.Query(), test.query) || user != test.user || pass != test.password {
				t.Errorf("asked was %s %s as %q with %q", req.Method, req.URL, user, pass)
			}
			if req.Header.Get("User-Agent") != "test/1" || req.Header.Get("Accept") != "application/json" {
				t.Errorf("the header is %v", req.Header)
			}
		})
	}
}

func TestATokenForAnIdentityToken(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), ghcr, identity)
	if got := authorize(t, a, identity, push, pull); got != "Bearer token-1" {
		t.Errorf("the header is %q", got)
	}
	req := i.last(t)
	want := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {identityToken}, "service": {"ghcr.io"},
		"client_id": {"terraform-provider-registry"}, "scope": {"repository:acme/app:pull,push"}}
	if req.Method != "POST" || !reflect.DeepEqual(req.Form, want) || req.URL.RawQuery != "" || req.Header.Get("Authorization") != "" {
		t.Errorf("asked was %s %s with %v", req.Method, req.URL, req.Form)
	}
}

// TestAnEndpointWithoutGetIsAskedByPost also shows that this is remembered.
func TestAnEndpointWithoutGetIsAskedByPost(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusMethodNotAllowed} {
		i := &issuer{}
		i.answer = func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "GET" {
				w.WriteHeader(status)
				return
			}
			fmt.Fprint(w, `{"access_token": "posted"}`)
		}
		a := challenged(t, options(i), ghcr, ci)
		for _, scope := range []auth.Scope{pull, push} {
			if got := authorize(t, a, ci, scope); got != "Bearer posted" {
				t.Errorf("the header is %q", got)
			}
		}
		var methods []string
		for _, req := range i.requests() {
			methods = append(methods, req.Method)
		}
		if !reflect.DeepEqual(methods, []string{"GET", "POST", "POST"}) {
			t.Errorf("the requests were %v", methods)
		}
		want := url.Values{"grant_type": {"password"}, "username": {"ci"}, "password": {password}, "service": {"ghcr.io"},
			"client_id": {"terraform-provider-registry"}, "scope": {"repository:acme/app:pull,push"}}
		if got := i.last(t).Form; !reflect.DeepEqual(got, want) {
			t.Errorf("the form was %v", got)
		}
	}
}

// TestAnEndpointThatIsNotThere also shows that the answer to the GET is the one
// that is told.
func TestAnEndpointThatIsNotThere(t *testing.T) {
	for c, requests := range map[*auth.Credential]int{&nobody: 1, &ci: 2} {
		i := &issuer{answer: func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "POST" {
				w.WriteHeader(405)
				return
			}
			w.WriteHeader(404)
			fmt.Fprint(w, `{"errors": [{"code": "NOT_FOUND", "message": "no such namespace"}]}`)
		}}
		a := challenged(t, options(i), ghcr, *c)
		_, err := a.Authorize(t.Context(), *c, pull)
		refused(t, err, registry.ErrProtocol, "HTTP 404", "NOT_FOUND", "no such namespace", "ghcr.io/acme/app")
		if errors.Is(err, registry.ErrNotFound) {
			t.Error("it is taken for the registry's own 404")
		}
		if len(i.requests()) != requests {
			t.Errorf("%d requests", len(i.requests()))
		}
	}
}

func TestAnIdentityTokenNeedsAnEndpointThatKnowsPost(t *testing.T) {
	i := answering(404, "")
	a := challenged(t, options(i), ghcr, identity)
	_, err := a.Authorize(t.Context(), identity, pull)
	refused(t, err, registry.ErrProtocol, "HTTP 404")
	if len(i.requests()) != 1 {
		t.Errorf("%d requests", len(i.requests()))
	}
}

func TestAPostThatIsRefusedIsTheErrorAfterAGetThatIsNotKnown(t *testing.T) {
	i := &issuer{answer: func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			w.WriteHeader(404)
			return
		}
		w.WriteHeader(401)
	}}
	a := challenged(t, options(i), ghcr, ci)
	_, err := a.Authorize(t.Context(), ci, pull)
	refused(t, err, registry.ErrUnauthorized, "HTTP 401")
}

// TestHowLongATokenServes looks when the next one is fetched: ahead of the
// expiry by a quarter of the lifetime or 30 s, whichever is less.
func TestHowLongATokenServes(t *testing.T) {
	for answer, serves := range map[string]time.Duration{
		`{"token": "t"}`:                                  45 * time.Second,
		`{"token": "t", "expires_in": null}`:              45 * time.Second,
		`{"token": "t", "expires_in": 0}`:                 45 * time.Second,
		`{"token": "t", "expires_in": -3600}`:             45 * time.Second,
		`{"token": "t", "expires_in": 5}`:                 45 * time.Second,
		`{"token": "t", "expires_in": "soon"}`:            45 * time.Second,
		`{"token": "t", "expires_in": "NaN"}`:             45 * time.Second,
		`{"token": "t", "expires_in": {}}`:                45 * time.Second,
		`{"token": "t", "expires_in": 100}`:               75 * time.Second,
		`{"token": "t", "expires_in": 300}`:               270 * time.Second,
		`{"token": "t", "expires_in": "300"}`:             270 * time.Second,
		`{"token": "t", "expires_in": 300.5}`:             270*time.Second + 500*time.Millisecond,
		`{"token": "t", "expires_in": 86400}`:             time.Hour - 30*time.Second,
		`{"token": "t", "expires_in": 9e99}`:              time.Hour - 30*time.Second,
		`{"token": "t", "expires_in": 1e9999}`:            time.Hour - 30*time.Second,
		`{"token": "t", "expires_in": 18446744073709551}`: time.Hour - 30*time.Second,
		// A server whose clock is an hour fast, or slow.
		`{"token": "t", "expires_in": 300, "issued_at": "2024-02-29T13:00:00Z"}`: 270 * time.Second,
		`{"token": "t", "expires_in": 300, "issued_at": "2024-02-29T11:00:00Z"}`: 270 * time.Second,
	} {
		t.Run(answer, func(t *testing.T) {
			i, clock := answering(200, answer), newClock()
			o := options(i)
			o.Now = clock.Now
			a := challenged(t, o, ghcr, ci)
			authorize(t, a, ci, pull)
			clock.pass(serves - time.Second)
			authorize(t, a, ci, pull)
			if n := len(i.requests()); n != 1 {
				t.Errorf("%d tokens were fetched a second before %s", n, serves)
			}
			clock.pass(time.Second)
			authorize(t, a, ci, pull)
			if n := len(i.requests()); n != 2 {
				t.Errorf("%d tokens were fetched after %s", n, serves)
			}
		})
	}
}

func TestTheLifeOfATokenBeginsBeforeItIsAskedFor(t *testing.T) {
	clock := newClock()
	i := &issuer{}
	i.answer = func(w http.ResponseWriter, _ *http.Request) {
		clock.pass(200 * time.Second)
		fmt.Fprint(w, `{"token": "t", "expires_in": 300}`)
	}
	o := options(i)
	o.Now = clock.Now
	a := challenged(t, o, ghcr, ci)
	authorize(t, a, ci, pull)
	clock.pass(71 * time.Second)
	authorize(t, a, ci, pull)
	if n := len(i.requests()); n != 2 {
		t.Errorf("%d tokens were fetched", n)
	}
}

func TestWhichTokenIsTaken(t *testing.T) {
	for answer, want := range map[string]string{
		`{"token": "a"}`:                                         "Bearer a",
		`{"access_token": "b"}`:                                  "Bearer b",
		`{"token": "a", "access_token": "b"}`:                    "Bearer a",
		`{"token": "", "access_token": "b"}`:                     "Bearer b",
		`{"token": null, "access_token": "b"}`:                   "Bearer b",
		`{"access_token": "ya29.a-b_c~d+e/f==", "scope": ["x"]}`: "Bearer ya29.a-b_c~d+e/f==",
	} {
		a := challenged(t, options(answering(200, answer)), ghcr, ci)
		if got := authorize(t, a, ci, pull); got != want {
			t.Errorf("%s gives %q", answer, got)
		}
	}
}

func TestAnswersThatAreNoToken(t *testing.T) {
	for answer, kind := range map[string]error{
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
		i := answering(200, answer)
		a := challenged(t, options(i), ghcr, ci)
		_, err := a.Authorize(t.Context(), ci, pull)
		refused(t, err, kind, "ghcr.io/acme/app: cannot fetch a token: the token endpoint at ghcr.io: ", "does not issue tokens", "its realm")
		if len(err.Error()) > 1000 {
			t.Errorf("the error has %d bytes", len(err.Error()))
		}
	}
}

func TestHTMLFromATokenEndpointIsNamedAsSuch(t *testing.T) {
	i := &issuer{answer: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<html>")
	}}
	a := challenged(t, options(i), ghcr, ci)
	_, err := a.Authorize(t.Context(), ci, pull)
	refused(t, err, registry.ErrProtocol, "ghcr.io", "text/html")
}

// TestALargeTokenJustFits is the other side of the limit.
func TestALargeTokenJustFits(t *testing.T) {
	token := strings.Repeat("a", 16<<10)
	a := challenged(t, options(answering(200, `{"token": "`+token+`"}`)), ghcr, ci)
	if got := authorize(t, a, ci, pull); got != "Bearer "+token {
		t.Error("it is another one")
	}
}

func TestATokenEndpointsRefusalsAreTyped(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		kind   error
		words  []string
	}{
		{401, `{"errors": [{"code": "UNAUTHORIZED", "message": "wrong password"}]}`, registry.ErrUnauthorized, []string{"HTTP 401", "UNAUTHORIZED", "wrong password"}},
		{401, `{"details": "incorrect username or password"}`, registry.ErrUnauthorized, []string{"incorrect username or password"}},
		{401, `{"message": "login first"}`, registry.ErrUnauthorized, []string{"login first"}},
		{401, ``, registry.ErrUnauthorized, []string{"HTTP 401", "it gives no reason"}},
		{401, `<html>`, registry.ErrUnauthorized, []string{"it gives no reason"}},
		{401, `{"token": "x"}`, registry.ErrUnauthorized, []string{"it gives no reason"}},
		{403, "not from\nthis \"address\"", registry.ErrDenied, []string{`it says "not from this \"address\""`}},
		{403, `<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>`, registry.ErrDenied, []string{`it says "AccessDenied"`}},
		{401, strings.Repeat("x", 1<<20), registry.ErrUnauthorized, []string{"it gives no reason"}},
		{401, `{"message": "login first"}` + strings.Repeat(" ", 64<<10), registry.ErrUnauthorized, []string{"it gives no reason"}},
		{403, `{"errors": [{"code": "DENIED", "message": "no access"}]}`, registry.ErrDenied, []string{"HTTP 403", "DENIED", "no access"}},
		{400, `{"error": "invalid_grant", "error_description": "expired"}`, registry.ErrUnauthorized, []string{"HTTP 400", "invalid_grant", "expired"}},
		{400, `{"error": "invalid_scope"}`, registry.ErrProtocol, []string{"HTTP 400", "invalid_scope"}},
		{400, `{"error": {"code": 400}, "message": "bad"}`, registry.ErrProtocol, []string{"HTTP 400", "bad"}},
		{204, ``, registry.ErrProtocol, []string{"HTTP 204"}},
		{429, `{}`, registry.ErrRateLimited, []string{"HTTP 429"}},
		{408, ``, registry.ErrUnavailable, []string{"HTTP 408"}},
		{425, ``, registry.ErrUnavailable, []string{"HTTP 425"}},
		{499, ``, registry.ErrUnavailable, []string{"HTTP 499"}},
		{500, `oops`, registry.ErrUnavailable, []string{"HTTP 500", `it says "oops"`}},
		{503, ``, registry.ErrUnavailable, []string{"HTTP 503"}},
		{520, ``, registry.ErrUnavailable, []string{"HTTP 520"}},
	} {
		for _, c := range []auth.Credential{ci, nobody, identity} {
			a := challenged(t, options(answering(test.status, test.body)), ghcr, c)
			_, err := a.Authorize(t.Context(), c, pull)
			words := slices.Concat(test.words, []string{"ghcr.io/acme/app: cannot fetch a token: ", "the token endpoint at ghcr.io"})
			if test.status == 401 || test.status == 403 {
				words = append(words, map[bool]string{true: "there was none: no credentials were found in", false: "from ~/.docker/config.json"}[c.Anonymous()])
			}
			refused(t, err, test.kind, words...)
			if e, _ := errors.AsType[*registry.Error](err); e.Status != test.status || e.Hint == "" {
				t.Errorf("the status is %d and the hint %q", e.Status, e.Hint)
			}
		}
	}
}

func TestHintsNameTheCredential(t *testing.T) {
	for want, c := range map[string]auth.Credential{
		`the login of the user "ci", from ~/.docker/config.json.`:                   ci,
		"the identity token, from ~/.docker/config.json.":                           identity,
		`the login of the user "ci", from the caller.`:                              {Username: "ci", Password: password},
		"the login, from the caller.":                                               {Username: password},
		"or run docker login ghcr.io.":                                              nobody,
		`Set registries = { "ghcr.io" = { username = "…", password = "…" } }`:       nobody,
		"The registry wants a login and there was none: no credentials were given.": {},
	} {
		a := challenged(t, options(answering(401, "")), ghcr, c)
		_, err := a.Authorize(t.Context(), c, pull)
		refused(t, err, registry.ErrUnauthorized, want)
	}
}

func TestARedirectOfTheTokenEndpointIsNotFollowed(t *testing.T) {
	for location, want := range map[string]string{"https://attacker.example/x?y": "to attacker.example,", "/other": "to ghcr.io,", "": "elsewhere"} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			i := &issuer{answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", location)
				w.WriteHeader(status)
			}}
			a := challenged(t, options(i), ghcr, ci)
			_, err := a.Authorize(t.Context(), ci, pull)
			refused(t, err, registry.ErrForbiddenRedirect, "redirects "+want, fmt.Sprintf("HTTP %d", status))
			if len(i.requests()) != 1 {
				t.Errorf("%d requests", len(i.requests()))
			}
		}
	}
}

func TestWhatATokenEndpointEchoesIsMaskedAndClean(t *testing.T) {
	robot := auth.Credential{Username: "bot", Password: password}
	for _, echo := range []string{
		password, identityToken, url.QueryEscape(password), base64Of("bot:" + password), base64Of(password),
		strings.Repeat("x", 1010) + password,
	} {
		body := fmt.Sprintf(`{"errors": [{"code": "X%s", "message": "\u001b[31m%s\r\n::set-output name=x::y"}]}`, echo, echo)
		for _, c := range []auth.Credential{robot, identity} {
			if strings.Contains(echo, identityToken) != (c.IdentityToken != "") {
				continue
			}
			a := challenged(t, options(answering(401, body)), ghcr, c)
			_, err := a.Authorize(t.Context(), c, pull)
			refused(t, err, registry.ErrUnauthorized, "***")
			text := err.Error()
			if strings.ContainsAny(text, "\x1b\r\n") || strings.Contains(text, "::set") || strings.Contains(text, "canary") || strings.Contains(text, echo) || len(text) > 2400 {
				t.Errorf("it is not clean: %q", text)
			}
		}
	}
}

func TestWhatATokenEndpointEchoesInAPageIsMasked(t *testing.T) {
	for body, want := range map[string]string{
		"<p>Basic " + base64Of(ci.Username+":"+password) + " is " + password: `it says "Basic *** is ***"`,
		strings.Repeat("x", 197) + password:                                  strings.Repeat("x", 197) + `***"`, // where an excerpt ends
	} {
		a := challenged(t, options(answering(401, body)), ghcr, ci)
		_, err := a.Authorize(t.Context(), ci, pull)
		refused(t, err, registry.ErrUnauthorized, want)
	}
}

func TestRetryAfterIsThereForWhoeverRetries(t *testing.T) {
	now := newClock().Now()
	for header, want := range map[string]time.Duration{
		"120":                     2 * time.Minute,
		"0":                       0,
		"-5":                      0,
		"120s":                    0,
		"":                        0,
		"99999999999999999999999": 24 * time.Hour,
		"999999999":               24 * time.Hour,
		now.Add(time.Minute).Format(http.TimeFormat):      time.Minute,
		now.Add(-time.Minute).Format(http.TimeFormat):     0,
		now.Add(1000 * time.Hour).Format(http.TimeFormat): 24 * time.Hour,
	} {
		for _, status := range []int{429, 503} {
			i := &issuer{answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", header)
				w.WriteHeader(status)
			}}
			a := challenged(t, options(i), ghcr, ci)
			_, err := a.Authorize(t.Context(), ci, pull)
			wait, found := errors.AsType[interface {
				error
				RetryAfter() time.Duration
			}](err)
			if found != (want > 0) || found && (wait.RetryAfter() != want || !strings.Contains(err.Error(), want.String())) {
				t.Errorf("%q gives %v", header, err)
			}
		}
	}
}

func TestParseRetryAfterIsNeverNegative(t *testing.T) {
	now := newClock().Now()
	if got := auth.ParseRetryAfter(now.Add(-time.Hour).Format(http.TimeFormat), now); got != 0 {
		t.Errorf("a time in the past is %s away", got)
	}
}

func TestATokenEndpointThatDoesNotAnswer(t *testing.T) {
	refusal := &registry.Error{Op: "follow the registry to", Reference: "169.254.169.254", Kind: registry.ErrForbiddenRedirect, Message: "it is link-local"}
	for name, test := range map[string]struct {
		err   error
		kind  error
		words []string
	}{
		"reset":            {errors.New("connection reset by\r\npeer"), registry.ErrUnavailable, []string{"the token endpoint at ghcr.io", "connection reset by peer"}},
		"of net/http":      {&url.Error{Op: "Get", URL: "https://ghcr.io/?" + password, Err: io.ErrUnexpectedEOF}, registry.ErrUnavailable, []string{"unexpected EOF"}},
		"refused to dial":  {refusal, registry.ErrForbiddenRedirect, []string{"169.254.169.254", "link-local", "cannot follow the registry to 169.254.169.254"}},
		"nothing said of":  {&registry.Error{Kind: registry.ErrUnavailable}, registry.ErrUnavailable, []string{"cannot fetch a token from https://ghcr.io/token: "}},
		"refused, wrapped": {fmt.Errorf("dial: %w", refusal), registry.ErrForbiddenRedirect, []string{"169.254.169.254"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(&issuer{})
			o.Send = func(*http.Request) (*http.Response, error) { return nil, test.err }
			a := challenged(t, o, ghcr, ci)
			_, err := a.Authorize(t.Context(), ci, pull)
			refused(t, err, test.kind, test.words...)
		})
	}
}

func TestATokenThatBreaksOffMidway(t *testing.T) {
	o := options(&issuer{})
	o.Send = func(*http.Request) (*http.Response, error) {
		body := io.MultiReader(strings.NewReader(`{"token": "a"`), errorReader{io.ErrUnexpectedEOF})
		return &http.Response{StatusCode: 200, Body: io.NopCloser(body)}, nil
	}
	a := challenged(t, o, ghcr, ci)
	_, err := a.Authorize(t.Context(), ci, pull)
	refused(t, err, registry.ErrUnavailable, "unexpected EOF")
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

func TestTheLogTellsOfTokensWithoutThem(t *testing.T) {
	var log bytes.Buffer
	i := answering(200, `{"token": "`+registryToken+`", "expires_in": 300}`)
	o := options(i)
	o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a := challenged(t, o, bearerAt("https://ghcr.io/token?sig="+password), ci)
	authorize(t, a, ci, push)
	for _, word := range []string{"fetched a token", "host=ghcr.io", "repository:acme/app:pull,push", "lifetime=5m0s", "https://ghcr.io/token?sig="} {
		if !strings.Contains(log.String(), word) {
			t.Errorf("the log does not say %q:\n%s", word, log.String())
		}
	}
	noSecret(t, log.String())
}

// Whoever was sent the credentials can name them in the realm that comes next.
func TestASecretInARealmIsNotLogged(t *testing.T) {
	for _, c := range []auth.Credential{ci, identity} {
		var log bytes.Buffer
		o := options(&issuer{})
		o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		a := challenged(t, o, bearerAt("https://ghcr.io/"+(c.Password+c.IdentityToken).Reveal()+"/"+base64Of("ci:"+c.Password.Reveal())), c)
		authorize(t, a, c, pull)
		noSecret(t, log.String())
		if c.Password != "" && !strings.Contains(log.String(), "realm=https://ghcr.io/***/") {
			t.Errorf("the log says:\n%s", log.String())
		}
	}
}

// TestARegistryAndItsTokenEndpoint goes the whole way over real connections.
func TestARegistryAndItsTokenEndpoint(t *testing.T) {
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
		given := authorization(t, a, ci, pull)
		req, err := http.NewRequestWithContext(context.Background(), "GET", server.URL+"/v2/acme/app/manifests/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if given.Header != "" {
			req.Header.Set("Authorization", given.Header.Reveal())
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp, given
	}
	resp, used := get()
	if used.Header != "" || resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("the first request was sent with %q and answered with %s", used.Header.Reveal(), resp.Status)
	}
	if err := a.Challenged(resp.Header, used, ci, pull); err != nil {
		t.Fatal(err)
	}
	if resp, used = get(); resp.StatusCode != http.StatusOK {
		t.Errorf("the second request was sent with %q and answered with %s", used.Header.Reveal(), resp.Status)
	}
}
