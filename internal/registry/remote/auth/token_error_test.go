package auth_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

func TestTokenError_Kind(t *testing.T) {
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
		for _, c := range []auth.Credential{ci, anonymous, identity} {
			a := challenged(t, options(respondingIssuer(test.status, test.body)), ghcrChallenge, c)
			_, err := a.Authorize(t.Context(), c, pull)
			words := slices.Concat(test.words, []string{"ghcr.io/acme/app: cannot fetch a token: ", "the token endpoint at ghcr.io"})
			if test.status == 401 || test.status == 403 {
				words = append(words, map[bool]string{true: "there was none: no credentials were found in", false: "from ~/.docker/config.json"}[c.Anonymous()])
			}
			assertError(t, err, test.kind, words...)
			if e, _ := errors.AsType[*registry.Error](err); e.Status != test.status || e.Hint == "" {
				t.Errorf("error status = %d, hint = %q; want %d and a hint", e.Status, e.Hint, test.status)
			}
		}
	}
}

func TestTokenError_CredentialHint(t *testing.T) {
	for want, c := range map[string]auth.Credential{
		`the login of the user "ci", from ~/.docker/config.json.`:                   ci,
		"the identity token, from ~/.docker/config.json.":                           identity,
		`the login of the user "ci", from the caller.`:                              {Username: "ci", Password: password},
		"the login, from the caller.":                                               {Username: password},
		"or run docker login ghcr.io.":                                              anonymous,
		`Set registries = { "ghcr.io" = { username = "…", password = "…" } }`:       anonymous,
		"The registry wants a login and there was none: no credentials were given.": {},
	} {
		a := challenged(t, options(respondingIssuer(401, "")), ghcrChallenge, c)
		_, err := a.Authorize(t.Context(), c, pull)
		assertError(t, err, registry.ErrUnauthorized, want)
	}
}

func TestTokenError_Redirect(t *testing.T) {
	for location, want := range map[string]string{"https://attacker.example/x?y": "to attacker.example,", "/other": "to ghcr.io,", "": "elsewhere"} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			i := &issuer{handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", location)
				w.WriteHeader(status)
			}}
			a := challenged(t, options(i), ghcrChallenge, ci)
			_, err := a.Authorize(t.Context(), ci, pull)
			assertError(t, err, registry.ErrForbiddenRedirect, "redirects "+want, fmt.Sprintf("HTTP %d", status))
			if len(i.requests()) != 1 {
				t.Errorf("%d token requests, want 1", len(i.requests()))
			}
		}
	}
}

func TestTokenError_RedactsEcho(t *testing.T) {
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
			a := challenged(t, options(respondingIssuer(401, body)), ghcrChallenge, c)
			_, err := a.Authorize(t.Context(), c, pull)
			assertError(t, err, registry.ErrUnauthorized, "***")
			text := err.Error()
			if strings.ContainsAny(text, "\x1b\r\n") || strings.Contains(text, "::set") || strings.Contains(text, "canary") || strings.Contains(text, echo) || len(text) > 2400 {
				t.Errorf("error = %q, which is not redacted and sanitized", text)
			}
		}
	}
}

func TestTokenError_RedactsPage(t *testing.T) {
	for body, want := range map[string]string{
		"<p>Basic " + base64Of(ci.Username+":"+password) + " is " + password: `it says "Basic *** is ***"`,
		strings.Repeat("x", 197) + password:                                  strings.Repeat("x", 197) + `***"`, // at the limit of an excerpt
	} {
		a := challenged(t, options(respondingIssuer(401, body)), ghcrChallenge, ci)
		_, err := a.Authorize(t.Context(), ci, pull)
		assertError(t, err, registry.ErrUnauthorized, want)
	}
}

func TestTokenError_RetryAfter(t *testing.T) {
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
			i := &issuer{handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", header)
				w.WriteHeader(status)
			}}
			a := challenged(t, options(i), ghcrChallenge, ci)
			_, err := a.Authorize(t.Context(), ci, pull)
			wait, found := errors.AsType[interface {
				error
				RetryAfter() time.Duration
			}](err)
			if found != (want > 0) || found && (wait.RetryAfter() != want || !strings.Contains(err.Error(), want.String())) {
				t.Errorf("Retry-After %q: error = %v, want %s", header, err, want)
			}
		}
	}
}

func TestParseRetryAfter_Past(t *testing.T) {
	now := newClock().Now()
	if got := auth.ParseRetryAfter(now.Add(-time.Hour).Format(http.TimeFormat), now); got != 0 {
		t.Errorf("ParseRetryAfter() of a past time = %s, want 0", got)
	}
}

func TestTokenError_Transport(t *testing.T) {
	refusal := &registry.Error{Op: "follow the registry to", Reference: "169.254.169.254", Kind: registry.ErrForbiddenRedirect, Message: "it is link-local"}
	for name, test := range map[string]struct {
		err   error
		kind  error
		words []string
	}{
		"reset":                   {errors.New("connection reset by\r\npeer"), registry.ErrUnavailable, []string{"the token endpoint at ghcr.io", "connection reset by peer"}},
		"url_error":               {&url.Error{Op: "Get", URL: "https://ghcr.io/?" + password, Err: io.ErrUnexpectedEOF}, registry.ErrUnavailable, []string{"unexpected EOF"}},
		"forbidden_address":       {refusal, registry.ErrForbiddenRedirect, []string{"169.254.169.254", "link-local", "cannot follow the registry to 169.254.169.254"}},
		"error_without_operation": {&registry.Error{Kind: registry.ErrUnavailable}, registry.ErrUnavailable, []string{"cannot fetch a token from https://ghcr.io/token: "}},
		"wrapped_error":           {fmt.Errorf("dial: %w", refusal), registry.ErrForbiddenRedirect, []string{"169.254.169.254"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(&issuer{})
			o.Send = func(*http.Request) (*http.Response, error) { return nil, test.err }
			a := challenged(t, o, ghcrChallenge, ci)
			_, err := a.Authorize(t.Context(), ci, pull)
			assertError(t, err, test.kind, test.words...)
		})
	}
}

func TestTokenError_TruncatedResponse(t *testing.T) {
	o := options(&issuer{})
	o.Send = func(*http.Request) (*http.Response, error) {
		body := io.MultiReader(strings.NewReader(`{"token": "a"`), errorReader{io.ErrUnexpectedEOF})
		return &http.Response{StatusCode: 200, Body: io.NopCloser(body)}, nil
	}
	a := challenged(t, o, ghcrChallenge, ci)
	_, err := a.Authorize(t.Context(), ci, pull)
	assertError(t, err, registry.ErrUnavailable, "unexpected EOF")
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }
