package auth

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// assertSafeError checks that err has one of the kinds and is safe to display: one line of
// limited length, without invisible characters and without the secret.
func assertSafeError(t *testing.T, err error, secret Secret, kinds ...error) {
	t.Helper()
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		t.Fatalf("error = %v, want a *registry.Error", err)
	}
	known := false
	for _, kind := range kinds {
		known = known || e.Kind == kind //nolint:errorlint // the test compares the kind itself
	}
	text := e.Error() + e.Hint
	if !known || len(text) > 4<<10 || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }) {
		t.Errorf("error of kind %v = %q", e.Kind, text)
	}
	if strings.Contains(text, secret.Reveal()) {
		t.Errorf("error = %q, which contains %q", text, secret.Reveal())
	}
}

// FuzzParseRetryAfter checks that seconds and dates result in a time from now of at most
// one day, and everything else in 0.
func FuzzParseRetryAfter(f *testing.F) {
	for _, seed := range []string{
		"", "0", "120", " 7 ", "-1", "+5", "1.5", "120s", "99999999999999999999", "18446744073709551615", "0x10", "Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 GMT",
		"Friday, 31-Dec-99 23:59:59 GMT", "Fri Dec 31 23:59:59 1999", "1\r\n2",
	} {
		f.Add(seed, int64(90))
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	f.Fuzz(func(t *testing.T, value string, seconds int64) {
		got := ParseRetryAfter(value, now)
		if got < 0 || got > day || got%time.Second != 0 {
			t.Errorf("ParseRetryAfter(%q) = %s", value, got)
		}
		if again := ParseRetryAfter(" "+value+"\t", now); again != got {
			t.Errorf("ParseRetryAfter(%q) = %s, and %s with whitespace around it", value, got, again)
		}
		if _, err := http.ParseTime(strings.TrimSpace(value)); got > 0 && err != nil && strings.Trim(strings.TrimSpace(value), "0123456789") != "" {
			t.Errorf("ParseRetryAfter(%q) = %s, want 0", value, got)
		}
		seconds = max(seconds, -seconds, 0) % (1 << 40)
		want := min(time.Duration(min(seconds, 1<<20))*time.Second, day)
		if got := ParseRetryAfter(strconv.FormatInt(seconds, 10), now); got != want {
			t.Errorf("ParseRetryAfter(%d) = %s, want %s", seconds, got, want)
		}
		if got := ParseRetryAfter(now.Add(time.Duration(seconds%(1<<30))*time.Second).Format(http.TimeFormat), now); got != min(time.Duration(seconds%(1<<30))*time.Second, day) {
			t.Errorf("ParseRetryAfter() of a date in %d seconds = %s", seconds%(1<<30), got)
		}
	})
}

// fuzzedAuthorizer returns an Authorizer that cannot send token requests.
func fuzzedAuthorizer(origin string) *Authorizer {
	u, err := url.Parse(origin)
	if err != nil {
		panic(err)
	}
	return NewAuthorizer(AuthorizerOptions{Host: u.Host, Origin: u})
}

// FuzzRealm checks that every accepted realm uses https, or http on the registry's own host,
// and gets a credential only if it belongs to the registry.
func FuzzRealm(f *testing.F) {
	for _, seed := range []string{
		"", "https://auth.example.com/token", "https://registry.example.com/token?service=x#frag", "http://registry.example.com/token", "http://registry.example.com:5000/token", "https://example.com", "https://EXAMPLE.COM./",
		"https://evilexample.com/", "https://example.com.evil.com/", "https://example.com@evil.com/", "https://evil.com\\@example.com/", "https://evil.com#.example.com", "//auth.example.com/", "/token",
		"ftp://example.com/", "file:///x", "https://127.0.0.1/", "https://[::1]:8443/", "https://user:p@example.com/", "https:example.com", "https://.example.com/", "https://ex%41mple.com/", "https://com/",
	} {
		f.Add(seed)
	}
	registries := []*Authorizer{fuzzedAuthorizer("https://registry.example.com"), fuzzedAuthorizer("http://registry.example.com:5000")}
	c := Credential{Username: "ci", Password: "Canary/Secret+password", Source: "the test"}
	f.Fuzz(func(t *testing.T, text string) {
		for _, a := range registries {
			origin := a.options.Origin
			realm, err := a.realm(text)
			if err != nil {
				assertSafeError(t, err, c.Password, registry.ErrProtocol, registry.ErrForbiddenRedirect)
				continue
			}
			host := strings.ToLower(realm.Hostname())
			own := host == origin.Hostname()
			if host == "" || realm.User != nil || realm.Fragment != "" || realm.Scheme != "https" && (realm.Scheme != "http" || origin.Scheme != "http" || !own) {
				t.Errorf("realm(%q) of %s is accepted", realm, origin)
			}
			isOwn := own && realm.Port() == origin.Port() || realm.Scheme == "https" && strings.HasSuffix("."+host, ".example.com")
			if a.isTrustedRealm(realm, c) && !isOwn {
				t.Errorf("isTrustedRealm(%q) of %s = true, want false", realm, origin)
			}
			assertSafeError(t, a.untrustedRealm(realm, c), c.Password, registry.ErrForbiddenRedirect)
		}
	})
}

// FuzzTokenResponse checks that every response of a token endpoint is a valid token or an
// error of a known kind. A token must be valid in a header, and its lifetime between a
// minute and an hour. An error must not contain the password, even if the response does.
func FuzzTokenResponse(f *testing.F) {
	for _, seed := range []string{
		`{"token":"abc","expires_in":300}`, `{"access_token":"abc"}`, `{"token":"","access_token":"b"}`, `{"token":"a b"}`, `{"token":"a\r\nb"}`, `{"token":"é"}`, `{}`, `null`, `[]`, ``, `<html>`,
		`{"token":"a","expires_in":-1}`, `{"token":"a","expires_in":"1e400"}`, `{"token":"a","expires_in":null}`, `{"token":"a","expires_in":{}}`, `{"token":"a","token":"b"}`, `{"Token":"a"}`,
		`{"errors":[{"code":"DENIED","message":"no"}]}`, `{"error":"invalid_grant","error_description":"expired"}`, `{"details":"incorrect username or password"}`, `{"message":"\u001b[31m","error":[]}`,
	} {
		for _, status := range []uint16{200, 302, 400, 401, 403, 404, 429, 500} {
			f.Add(status, []byte(seed), uint16(max(strings.LastIndexByte(seed, '"'), 0)), "https://elsewhere.example.com/token")
		}
	}
	a := fuzzedAuthorizer("https://registry.example.com")
	params := authParams{realm: &url.URL{Scheme: "https", Host: "auth.example.com", Path: "/token"}}
	c := Credential{Username: "ci", Password: "Canary/Secret+password", Source: "the test"}
	f.Fuzz(func(t *testing.T, status uint16, body []byte, at uint16, location string) {
		position := min(int(at), len(body))
		repeated := string(body[:position]) + c.Password.Reveal() + string(body[position:])
		for _, body := range []string{string(body), repeated} {
			if i, err := parseToken([]byte(body)); err == nil {
				if !isHeaderSafe(i.value.Reveal()) || i.lifetime < minLifetime || i.lifetime > maxLifetime {
					t.Errorf("parseToken(%q) = %q, %s", body, i.value.Reveal(), i.lifetime)
				}
				req := &http.Request{Header: http.Header{"Authorization": {bearer(i.value)}}, URL: params.realm, Host: params.realm.Host}
				if err := req.Write(io.Discard); err != nil {
					t.Errorf("request with the token of %q: Write() error = %v", body, err)
				}
			} else if strings.Contains(err.Error(), c.Password.Reveal()) || len(err.Error()) > 100 {
				t.Errorf("parseToken(%q) error = %v", body, err)
			}
			resp := &http.Response{
				StatusCode: int(300 + status%300), Header: http.Header{"Location": {location}, "Retry-After": {location}}, Request: &http.Request{URL: params.realm},
			}
			assertSafeError(t, a.responseError(t.Context(), resp, []byte(body), c, params), c.Password, registry.ErrForbiddenRedirect, registry.ErrUnauthorized, registry.ErrDenied,
				registry.ErrRateLimited, registry.ErrUnavailable, registry.ErrProtocol)
		}
	})
}
