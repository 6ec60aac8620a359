package remote

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// fuzzRepositories returns a repository of a registry with TLS and one of a registry
// without TLS. No test sends a request to either of them.
func fuzzRepositories(f *testing.F) (tls, plain *repository) {
	f.Helper()
	none := ""
	c, err := New(Options{
		Credentials: auth.Options{DockerConfigPath: &none},
		Proxy:       func(*http.Request) (*url.URL, error) { return nil, nil },
	})
	if err != nil {
		f.Fatal(err)
	}
	at := func(host string) *repository {
		return c.Repository(registry.Reference{Host: host, Repository: "acme/app"}, Push).(*repository)
	}
	return at("registry.example.com"), at("localhost:5000")
}

// assertOneLine fails the test unless text is safe to display. See registry.Sanitize.
func assertOneLine(t *testing.T, limit int, text string) {
	t.Helper()
	if len(text) > limit || !utf8.ValidString(text) {
		t.Errorf("length = %d, want at most %d bytes of valid UTF-8: %q", len(text), limit, text)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }) {
		t.Errorf("text = %q, want no control or format characters", text)
	}
}

// assertKnownKind fails the test unless err has one of the given kinds and is safe to
// display.
func assertKnownKind(t *testing.T, err error, kinds ...error) *registry.Error {
	t.Helper()
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		t.Fatalf("error = %v, want a *registry.Error", err)
	}
	known := false
	for _, kind := range kinds {
		known = known || e.Kind == kind //nolint:errorlint // the kind itself
	}
	if !known {
		t.Errorf("error %v has the kind %v, want a known one", err, e.Kind)
	}
	assertOneLine(t, 4<<10, e.Error()+e.Hint)
	return e
}

// FuzzLocation checks that the target of a redirect uses https or http, has a host and has
// no user name. A redirect from https stays on https. A target with http is accepted only
// from a registry that uses plain HTTP.
func FuzzLocation(f *testing.F) {
	for _, seed := range []string{
		"", "/v2/app/blobs/uploads/1?_state=a%2Fb", "//storage.example.com/x", "https://storage.example.com:8443/x?sig=%2B#frag", "http://registry.example.com/v2/",
		"http://registry.example.com:443/x", "http://registry.example.com:5000/x", "http://169.254.169.254/latest", "HTTP://LOCALHOST/x", "http://localhost:5000/x",
		"https://user:password@storage.example.com/x", "ftp://h/x", "file:///etc/passwd", "javascript:alert(1)", "https:opaque", "https://", "http://[::1", "%zz", "?n=1", "../../x", "http:///x", "\x00",
	} {
		f.Add(seed)
	}
	tls, plain := fuzzRepositories(f)
	f.Fuzz(func(t *testing.T, location string) {
		for _, r := range []*repository{tls, plain} {
			to, err := r.client.target(r.host, r.url("blobs/uploads/"), location)
			if err != nil {
				assertKnownKind(t, err, registry.ErrProtocol, registry.ErrForbiddenRedirect)
				continue
			}
			switch {
			case to.Hostname() == "" || to.User != nil || to.Fragment != "":
				t.Errorf("target(%q) = %q, want a plain host", location, to)
			case to.Scheme == "https":
			case to.Scheme != "http" || r == tls || !IsLoopback(strings.ToLower(to.Host)):
				t.Errorf("target(%q) from %s = %q, want https or loopback", location, r.host.origin, to)
			}
		}
	})
}

// FuzzNextPage checks that a Link either leads to a page of the registry itself, means the
// end of the list, or is an error. A malformed Link never means the end of the list.
func FuzzNextPage(f *testing.F) {
	for _, seed := range []string{
		"", " ", `</v2/acme/app/tags/list?last=b&n=2>; rel="next"`, `<?last=b>;rel=next`, `</first>; rel="first", <list?page=2>; rel="prev next"`,
		`<x>; title="a, <b>"; REL="next"`, `<https://other.example.com/v2/>; rel="next"`, `<http://registry.example.com/v2/>; rel="next"`, `<file:///x>; rel=next`,
		`<http://[>; rel="next"`, `</last>; rel="last"`, `</x>`, `<>; rel="next"`, "garbage", `<x>; rel="nextish"`, `<x; rel="next"`, `<a>,<b>;rel=next`, `,`,
	} {
		f.Add(seed)
	}
	tls, plain := fuzzRepositories(f)
	f.Fuzz(func(t *testing.T, header string) {
		for _, r := range []*repository{tls, plain} {
			from := r.url("tags/list")
			next, err := r.nextPage(from, []string{header})
			switch {
			case err != nil:
				assertKnownKind(t, err, registry.ErrProtocol, registry.ErrForbiddenRedirect)
			case next != nil && (!r.host.isOrigin(next) || next.User != nil):
				t.Errorf("nextPage(%q) = %q, want a page of the registry", header, next)
			case next == nil && strings.TrimSpace(header) != "" && !strings.Contains(strings.ToLower(header), "rel"):
				t.Errorf("nextPage(%q) = nil, want an error for a link without rel", header)
			}
			// Another link next to a well-formed one does not hide it.
			both, err := r.nextPage(from, []string{`</v2/acme/app/tags/list?page=2>; rel="next"`, header})
			if err != nil || both == nil || both.RawQuery != "page=2" {
				t.Errorf("nextPage() with the additional link %q = %v, %v", header, both, err)
			}
			// A title does not affect the relation of a link.
			titled := `<?page=2>; title="` + strings.ReplaceAll(header, `"`, "") + `"`
			for relation, page := range map[string]string{"; rel=next": "page=2", `; REL="prev Next"`: "page=2", "; rel=last; rel=next": "", `;rel="nextish"`: ""} {
				next, err := r.nextPage(from, []string{titled + relation})
				if err != nil || (next != nil) != (page != "") || next != nil && next.RawQuery != page {
					t.Errorf("nextPage(%q) = %v, %v", titled+relation, next, err)
				}
			}
			if next, err := r.nextPage(from, []string{titled}); err == nil {
				t.Errorf("nextPage(%q) = %v, want an error", titled, next)
			}
		}
	})
}

var exactRange = regexp.MustCompile(`^bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)$`)

// FuzzContentRange checks that a range is accepted only if its Content-Range header states
// exactly the requested range.
func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{
		"bytes 10-19/30", "bytes 10-19/*", "bytes 0-29/30", "bytes 10-20/30", "bytes 10-19/31", "bytes */30", "bytes 10-19", "items 10-19/30", "Bytes 10-19/30", "",
		"bytes +10-19/30", "bytes 10-19/30 x", "bytes  10-19/30", "bytes 0x0a-19/30", "bytes 10-19/30/30", "bytes 10-19/030", "bytes 99999999999999999999-19/30", "bytes -10-19/30", "10-19",
	} {
		f.Add(seed, int64(10), int64(20), int64(30))
	}
	f.Fuzz(func(t *testing.T, header string, start, end, size int64) {
		if start < 0 || end <= start || size < end {
			return // such a range is never requested
		}
		part := exactRange.FindStringSubmatch(header)
		valid := len(part) > 0 && equalsNumber(part[1], start) && equalsNumber(part[2], end-1) && (part[3] == "*" || equalsNumber(part[3], size))
		if err := checkContentRange([]string{header}, start, end, size); err != nil {
			assertKnownKind(t, err, registry.ErrProtocol)
		} else if !valid {
			t.Errorf("checkContentRange(%q) for bytes %d to %d of %d = nil, want an error", header, start, end-1, size)
		}
		if checkContentRange([]string{header, header}, start, end, size) == nil || checkContentRange(nil, start, end, size) == nil {
			t.Errorf("checkContentRange() = nil for a repeated or missing %q, want an error", header)
		}
		for _, total := range []string{"*", strconv.FormatInt(size, 10)} {
			if err := checkContentRange([]string{fmt.Sprintf("bytes %d-%d/%s", start, end-1, total)}, start, end, size); err != nil {
				t.Error(err)
			}
		}
	})
}

// equalsNumber reports whether digits represent number.
func equalsNumber(digits string, number int64) bool {
	n, err := strconv.ParseInt(digits, 10, 64)
	return err == nil && n == number
}

// FuzzReceived checks that the client accepts either no offset of an upload session or
// exactly the number of bytes that the registry states.
func FuzzReceived(f *testing.F) {
	for _, seed := range []string{"0-0", "0-9", "0-", "-9", "9", "", "1-9", "0--9", "0-+9", "0-09", "bytes=0-9", "0-9223372036854775807", "0-9223372036854775808", "0-1e3", "0-9-9", " 0-9"} {
		f.Add(seed, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, sent int64) {
		switch got := received(header, sent); {
		case got < -1:
			t.Errorf("received(%q) = %d", header, got)
		case got == 0 && strings.Trim(strings.TrimPrefix(header, "0-"), "0") != "", got > 0 && !equalsNumber(strings.TrimPrefix(header, "0-"), got-1):
			t.Errorf("received(%q) = %d of %d bytes", header, got, sent)
		}
		if sent > 0 && sent < 1<<60 && received(fmt.Sprintf("0-%d", sent-1), sent) != sent {
			t.Errorf("received() of all %d bytes = %d", sent, received(fmt.Sprintf("0-%d", sent-1), sent))
		}
	})
}

// encodingsOf returns the forms in which a server may echo a secret.
func encodingsOf(secret string) []string {
	return []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), strings.ReplaceAll(secret, "/", `\/`),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
	}
}

// responseKinds are the kinds of error that a response can have.
var responseKinds = []error{
	registry.ErrNotFound, registry.ErrUnauthorized, registry.ErrDenied, registry.ErrRateLimited, registry.ErrUnavailable, registry.ErrMismatch,
	registry.ErrInvalidManifest, registry.ErrUnsupported, registry.ErrMissingContent, registry.ErrTagImmutable, registry.ErrProtocol,
}

// FuzzErrorBody checks that any error body becomes an error of a known kind, in one line
// of bounded length. It must not contain the password or the token that were sent, even if
// the registry echoes them. Only the registry's own error document turns a 404 into
// ErrNotFound.
func FuzzErrorBody(f *testing.F) {
	const password, token = "Canary/Secret+password", "Canary/Secret+token"
	for i, seed := range []string{
		"", "null", "[]", "{}", "<html><body>404</body></html>", "\x1b[31mred\r\n::set-output name=a::b", strings.Repeat("€", 5000), "\xff\xfe", strings.Repeat(" ", maxErrorBytes+1),
		`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"1"}}]}`,
		`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[{"Type":"repository"}]}]}`,
		`{"errors":[{"code":"A","message":"b"},{"code":"C"},{"message":"d"},{"code":"E"}]}`, `{"errors":[]}`, `{"errors":[{"code":""}]}`, `{"errors":[{"code":1}]}`,
		`{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}`, `{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}`, `{"errors":[{"code":"` + strings.Repeat("X", 2000) + `","message":"\u001b[0m\u202e"}]}`,
	} {
		for _, status := range []uint16{400, 401, 403, 404, 409, 413, 429, 500, 503, 507} {
			f.Add(status, []byte(seed), uint16(max(strings.LastIndexByte(seed, '"'), 0)), uint8(i), "120")
		}
	}
	r, _ := fuzzRepositories(f)
	r.resolvedCredential = &auth.Credential{Username: "ci", Password: password, Source: "the test"}
	base := request{op: "push the manifest", reference: "1", method: http.MethodPut, url: r.url("manifests/1")}
	forms := append(encodingsOf(password), encodingsOf(token)...)
	f.Fuzz(func(t *testing.T, status uint16, body []byte, at uint16, form uint8, wait string) {
		status = 400 + status%200
		spot := min(int(at), len(body))
		repeated := bytes.Join([][]byte{body[:spot], []byte(forms[int(form)%len(forms)]), body[spot:]}, nil)
		for _, body := range [][]byte{body, repeated} {
			for _, method := range []string{http.MethodGet, http.MethodPut} {
				q := base
				q.method = method
				resp := &http.Response{
					StatusCode: int(status), Header: http.Header{"Retry-After": {wait}}, Body: io.NopCloser(bytes.NewReader(body)),
					Request: &http.Request{Method: method, URL: q.url},
				}
				e := assertKnownKind(t, r.responseError(t.Context(), q, resp, "Bearer "+token), responseKinds...)
				if e.Hint == "" && !errors.Is(e, registry.ErrUnauthorized) {
					t.Errorf("error %v has no hint", e)
				}
				if e.Status != int(status) || errors.Is(e, registry.ErrNotFound) && !json.Valid(body) {
					t.Errorf("responseError() of HTTP %d with %q = %v", status, body, e)
				}
				for _, secret := range []string{password, token} {
					for _, form := range encodingsOf(secret) {
						if strings.Contains(e.Error()+e.Hint, form) {
							t.Errorf("error %v contains the secret %q", e, form)
						}
					}
				}
			}
		}
	})
}

// FuzzHandleWarnings checks that warnings are displayed in one line, and that a header
// causes no more than the maximum number of warnings.
func FuzzHandleWarnings(f *testing.F) {
	for _, seed := range [][2]string{
		{`299 - "this registry moves"`, "5;w=21600"}, {`299 - "a", 299 - "b\"c"`, "0"}, {`199 - "no"`, "11"}, {`299 - "\x1b[31m"`, "-1"}, {`299 - "`, "many"}, {`299 - ""`, "9;w=x"},
		{`299 - "` + strings.Repeat("a", 5000) + `"`, "1;w=9223372036854775807"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, warning, remaining string) {
		none := ""
		c, err := New(Options{Credentials: auth.Options{DockerConfigPath: &none}})
		if err != nil {
			t.Fatal(err)
		}
		r := c.Repository(registry.Reference{Host: "registry.example.com", Repository: "acme/app"}, Pull).(*repository)
		warnings := 0
		ctx := registry.WithTrace(t.Context(), registry.Trace{Warning: func(text string) {
			warnings++
			assertOneLine(t, 1<<10, text)
			if !strings.HasPrefix(text, "registry.example.com ") {
				t.Errorf("warning %q does not start with the host", text)
			}
		}})
		resp := &http.Response{
			Header:  http.Header{"Warning": {warning}, "RateLimit-Remaining": {remaining}, "RateLimit-Limit": {remaining}},
			Request: &http.Request{URL: r.url("tags/list")},
		}
		r.handleWarnings(ctx, resp)
		first := warnings
		if r.handleWarnings(ctx, resp); warnings != first || warnings > maxWarnings {
			t.Errorf("warnings of %q = %d, then %d more when it is repeated, want no more", warning, first, warnings-first)
		}
	})
}
