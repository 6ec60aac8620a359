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

// fuzzed gives repositories of a registry with TLS and of one without, neither
// of which is ever asked.
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

// oneLine wants what a registry said to be fit to be shown: see registry.Sanitize.
func assertOneLine(t *testing.T, limit int, text string) {
	t.Helper()
	if len(text) > limit || !utf8.ValidString(text) {
		t.Errorf("it has %d bytes: %q", len(text), text)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }) {
		t.Errorf("it has what cannot be seen: %q", text)
	}
}

// typed wants an error to be of a kind that callers know, and fit to be shown.
func assertKnownKind(t *testing.T, err error, kinds ...error) *registry.Error {
	t.Helper()
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		t.Fatalf("%v is no *registry.Error", err)
	}
	known := false
	for _, kind := range kinds {
		known = known || e.Kind == kind //nolint:errorlint // the kind itself
	}
	if !known {
		t.Errorf("%v is of the kind %v", err, e.Kind)
	}
	assertOneLine(t, 4<<10, e.Error()+e.Hint)
	return e
}

// FuzzLocation: wherever a registry points, it is by https or http, to a host,
// without a user name; from https to https; and in plain HTTP only where that is
// spoken.
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
				t.Errorf("%q leads to %q", location, to)
			case to.Scheme == "https":
			case to.Scheme != "http" || r == tls || !IsLoopback(strings.ToLower(to.Host)):
				t.Errorf("%q leads from %s to %q", location, r.host.origin, to)
			}
		}
	})
}

// FuzzNextPage: a Link leads to a page of the registry itself, or nowhere, or is
// an error. What cannot be read is never taken for the end of the list.
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
				t.Errorf("%q leads to %q", header, next)
			case next == nil && strings.TrimSpace(header) != "" && !strings.Contains(strings.ToLower(header), "rel"):
				t.Errorf("%q says nothing of what it leads to, and is taken for the end", header)
			}
			// Another link beside it does not hide one that is well formed.
			both, err := r.nextPage(from, []string{`</v2/acme/app/tags/list?page=2>; rel="next"`, header})
			if err != nil || both == nil || both.RawQuery != "page=2" {
				t.Errorf("before %q the next page is %v, %v", header, both, err)
			}
			// Nor does a title have a say in what a link is.
			titled := `<?page=2>; title="` + strings.ReplaceAll(header, `"`, "") + `"`
			for relation, page := range map[string]string{"; rel=next": "page=2", `; REL="prev Next"`: "page=2", "; rel=last; rel=next": "", `;rel="nextish"`: ""} {
				next, err := r.nextPage(from, []string{titled + relation})
				if err != nil || (next != nil) != (page != "") || next != nil && next.RawQuery != page {
					t.Errorf("of %q the next page is %v, %v", titled+relation, next, err)
				}
			}
			if next, err := r.nextPage(from, []string{titled}); err == nil {
				t.Errorf("%q does not say what it is, and leads to %v", titled, next)
			}
		}
	})
}

var exactRange = regexp.MustCompile(`^bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)$`)

// FuzzContentRange: a part is taken only where its header says, in so many
// words, that it is the one that was asked for.
func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{
		"bytes 10-19/30", "bytes 10-19/*", "bytes 0-29/30", "bytes 10-20/30", "bytes 10-19/31", "bytes */30", "bytes 10-19", "items 10-19/30", "Bytes 10-19/30", "",
		"bytes +10-19/30", "bytes 10-19/30 x", "bytes  10-19/30", "bytes 0x0a-19/30", "bytes 10-19/30/30", "bytes 10-19/030", "bytes 99999999999999999999-19/30", "bytes -10-19/30", "10-19",
	} {
		f.Add(seed, int64(10), int64(20), int64(30))
	}
	f.Fuzz(func(t *testing.T, header string, start, end, size int64) {
		if start < 0 || end <= start || size < end {
			return // nobody asks for it
		}
		part := exactRange.FindStringSubmatch(header)
		right := len(part) > 0 && equalsNumber(part[1], start) && equalsNumber(part[2], end-1) && (part[3] == "*" || equalsNumber(part[3], size))
		if err := checkContentRange([]string{header}, start, end, size); err != nil {
			assertKnownKind(t, err, registry.ErrProtocol)
		} else if !right {
			t.Errorf("%q is taken for %d to %d of %d", header, start, end-1, size)
		}
		if checkContentRange([]string{header, header}, start, end, size) == nil || checkContentRange(nil, start, end, size) == nil {
			t.Errorf("%q is taken where it is there twice, or not at all", header)
		}
		for _, total := range []string{"*", strconv.FormatInt(size, 10)} {
			if err := checkContentRange([]string{fmt.Sprintf("bytes %d-%d/%s", start, end-1, total)}, start, end, size); err != nil {
				t.Error(err)
			}
		}
	})
}

// is says whether digits are a number.
func equalsNumber(digits string, number int64) bool {
	n, err := strconv.ParseInt(digits, 10, 64)
	return err == nil && n == number
}

// FuzzReceived: of what a registry says that it has of an upload, either nothing
// is believed or a number of bytes that it says.
func FuzzReceived(f *testing.F) {
	for _, seed := range []string{"0-0", "0-9", "0-", "-9", "9", "", "1-9", "0--9", "0-+9", "0-09", "bytes=0-9", "0-9223372036854775807", "0-9223372036854775808", "0-1e3", "0-9-9", " 0-9"} {
		f.Add(seed, int64(10))
	}
	f.Fuzz(func(t *testing.T, said string, sent int64) {
		switch got := received(said, sent); {
		case got < -1:
			t.Errorf("%q is %d bytes", said, got)
		case got == 0 && strings.Trim(strings.TrimPrefix(said, "0-"), "0") != "", got > 0 && !equalsNumber(strings.TrimPrefix(said, "0-"), got-1):
			t.Errorf("%q is %d of %d bytes", said, got, sent)
		}
		if sent > 0 && sent < 1<<60 && received(fmt.Sprintf("0-%d", sent-1), sent) != sent {
			t.Errorf("all of %d bytes is %d", sent, received(fmt.Sprintf("0-%d", sent-1), sent))
		}
	})
}

// formsOf are the ways in which a server may repeat a secret.
func encodingsOf(secret string) []string {
	return []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), strings.ReplaceAll(secret, "/", `\/`),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
	}
}

// allKinds are what an answer can be.
var responseKinds = []error{
	registry.ErrNotFound, registry.ErrUnauthorized, registry.ErrDenied, registry.ErrRateLimited, registry.ErrUnavailable, registry.ErrMismatch,
	registry.ErrInvalidManifest, registry.ErrUnsupported, registry.ErrMissingContent, registry.ErrTagImmutable, registry.ErrProtocol,
}

// FuzzErrorBody: whatever a registry explains a failure with becomes an error of
// a known kind, in one line of bounded length, without the password and the
// token that it was sent, also where it repeats them. Only its own error
// document makes a 404 one of ErrNotFound.
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
	r.found = &auth.Credential{Username: "ci", Password: password, Source: "the test"}
	asked := request{op: "push the manifest", about: "1", method: http.MethodPut, url: r.url("manifests/1")}
	forms := append(encodingsOf(password), encodingsOf(token)...)
	f.Fuzz(func(t *testing.T, status uint16, body []byte, at uint16, form uint8, wait string) {
		status = 400 + status%200
		spot := min(int(at), len(body))
		repeated := bytes.Join([][]byte{body[:spot], []byte(forms[int(form)%len(forms)]), body[spot:]}, nil)
		for _, body := range [][]byte{body, repeated} {
			for _, method := range []string{http.MethodGet, http.MethodPut} {
				q := asked
				q.method = method
				resp := &http.Response{
					StatusCode: int(status), Header: http.Header{"Retry-After": {wait}}, Body: io.NopCloser(bytes.NewReader(body)),
					Request: &http.Request{Method: method, URL: q.url},
				}
				e := assertKnownKind(t, r.answerError(t.Context(), q, resp, "Bearer "+token), responseKinds...)
				if e.Hint == "" && !errors.Is(e, registry.ErrUnauthorized) {
					t.Errorf("nobody says what to do about %v", e)
				}
				if e.Status != int(status) || errors.Is(e, registry.ErrNotFound) && !json.Valid(body) {
					t.Errorf("of HTTP %d with %q it makes %v", status, body, e)
				}
				for _, secret := range []string{password, token} {
					for _, form := range encodingsOf(secret) {
						if strings.Contains(e.Error()+e.Hint, form) {
							t.Errorf("%v shows %q", e, form)
						}
					}
				}
			}
		}
	})
}

// FuzzHandleWarnings: what a registry says beside its answers is shown in one line, and
// of one header no more than it has room for.
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
		told := 0
		ctx := registry.WithTrace(t.Context(), registry.Trace{Warning: func(text string) {
			told++
			assertOneLine(t, 1<<10, text)
			if !strings.HasPrefix(text, "registry.example.com ") {
				t.Errorf("it does not say who says %q", text)
			}
		}})
		resp := &http.Response{
			Header:  http.Header{"Warning": {warning}, "RateLimit-Remaining": {remaining}, "RateLimit-Limit": {remaining}},
			Request: &http.Request{URL: r.url("tags/list")},
		}
		r.handleWarnings(ctx, resp)
		first := told
		if r.handleWarnings(ctx, resp); told != first || told > maxNotices {
			t.Errorf("%q is told %d times, and %d times more when it is said again", warning, first, told-first)
		}
	})
}
