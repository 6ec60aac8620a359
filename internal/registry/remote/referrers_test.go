package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// digests returns the digests of the referrers in a list.
func digests(l registry.ReferrerList) (all []digest.Digest) {
	for _, d := range l.Referrers {
		all = append(all, d.Digest)
	}
	return all
}

// index returns an image index with the given entries. entry returns an entry for a
// manifest that does not exist.
func index(entries ...string) string {
	return `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[` + strings.Join(entries, ",") + `]}`
}

func entry(seed string) string { return entryOf(digest.FromString(seed).String()) }

func entryOf(d string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":7}`, ocispec.MediaTypeImageManifest, d)
}

// contentType returns a header with the given Content-Type.
func contentType(mediaType string) http.Header { return http.Header{"Content-Type": {mediaType}} }

var indexHeader = contentType(ocispec.MediaTypeImageIndex)

const anyReferrers = "/v2/[a-z]+/referrers/.*"

// registryWithReferrers starts a scripted registry with an image in the repository app,
// and the given number of SBOMs that refer to it.
func registryWithReferrers(t *testing.T, b registrytest.Behaviour, image registrytest.Image, sboms int) (p *registrytest.Proxy, subject digest.Digest) {
	t.Helper()
	p = registrytest.Front(t, b)
	subject = p.Push(t, "app", "", image).Digest
	for i := range sboms {
		p.Attach(t, "app", registrytest.Artifact{Seed: fmt.Sprint(i), Subject: image})
	}
	return p, subject
}

func TestListReferrers_APIAndTag(t *testing.T) {
	sha512 := registrytest.Image{Seed: "a", Algorithm: digest.SHA512}
	for name, test := range map[string]struct {
		behaviour registrytest.Behaviour
		image     registrytest.Image
		sboms     int
		tag       string
		requests  int
	}{
		"api":        {registrytest.Behaviour{Referrers: true}, registrytest.Image{}, 2, "", 1},
		"api_paged":  {registrytest.Behaviour{Referrers: true, PageSize: 2}, registrytest.Image{}, 5, "", 3},
		"api_empty":  {registrytest.Behaviour{Referrers: true}, registrytest.Image{}, 0, "", 1},
		"api_sha512": {registrytest.Behaviour{Referrers: true}, sha512, 1, "", 1},
		"tag":        {registrytest.Behaviour{}, registrytest.Image{}, 2, "sha256-", 2},
		"tag_empty":  {registrytest.Behaviour{}, registrytest.Image{}, 0, "sha256-", 2},
		"tag_sha512": {registrytest.Behaviour{}, sha512, 2, "sha512-", 2},
	} {
		t.Run(name, func(t *testing.T) {
			p, subject := registryWithReferrers(t, test.behaviour, test.image, test.sboms)
			want := p.Referrers(t, "app", subject)
			if test.tag != "" {
				test.tag += subject.Encoded()[:64]
			}
			listing, err := newClient(t).pull(t, p.Addr+"/app").ListReferrers(t.Context(), subject)
			if err != nil || len(want) != test.sboms || !slices.Equal(digests(listing), want) || listing.Tag != test.tag {
				t.Errorf("ListReferrers() = %v with tag %q, %v, want %v with tag %q", digests(listing), listing.Tag, err, want, test.tag)
			}
			if got := listing.Held.Digest; (got != "") != (test.tag != "" && test.sboms > 0) {
				t.Errorf("Held.Digest = %q, want it only for an existing tag", got)
			}
			if got := len(p.Requests()); got != test.requests {
				t.Errorf("requests = %d, want %d", got, test.requests)
			}
		})
	}
}

// response is a response of a registry.
type response struct {
	status int
	header http.Header
	body   string
}

func errorResponse(status int, code string) response {
	return response{status, contentType("application/json"), string(registrytest.ErrorBody(code, "no"))}
}

// notReferrerLists are responses to a request for a referrers list that are not a valid
// list.
var notReferrerLists = map[string]response{
	"web_page":                 {200, contentType("text/html"), "<html>Sign in</html>"},
	"long_web_page":            {200, contentType("text/html"), "<html>" + strings.Repeat(" ", 5<<20)},
	"web_page_with_index_type": {200, indexHeader, "<html>Sign in</html>"},
	"null":                     {200, indexHeader, "null"},
	"array":                    {200, indexHeader, "[]"},
	"empty":                    {200, indexHeader, ""},
	"truncated_list":           {200, indexHeader, index(entry("a"))[:100]},
	"json_type":                {200, contentType("application/json"), index(entry("a"))},
	"manifest":                 {200, contentType(ocispec.MediaTypeImageManifest), `{"layers":[]}`},
	"docker_list":              {200, contentType(registry.MediaTypeDockerManifestList), `{"manifests":[` + entry("a") + `]}`},
	"no_content_type":          {200, http.Header{"Content-Type": nil}, index(entry("a"))},
}

// noReferrersAPI are responses of registries without a referrers API.
var noReferrersAPI = map[string]response{
	"404_web_page":    {404, contentType("text/plain"), "404 page not found\n"},
	"404_empty":       {404, nil, ""},
	"404_unsupported": errorResponse(404, "UNSUPPORTED"),
	"400_web_page":    {400, contentType("text/html"), "<html>Bad Request</html>"},
	"400_unsupported": errorResponse(400, "UNSUPPORTED"),
	"405":             {405, nil, ""},
	"405_unsupported": errorResponse(405, "UNSUPPORTED"),
	"501":             {501, nil, ""},
}

// noReferrersForDigest are responses that concern only this repository and digest, and
// only at this time.
var noReferrersForDigest = map[string]response{
	"404_name_unknown":     errorResponse(404, "NAME_UNKNOWN"),
	"404_manifest_unknown": errorResponse(404, "MANIFEST_UNKNOWN"),
	"400_digest_invalid":   errorResponse(400, "DIGEST_INVALID"),
}

func TestListReferrers_FallbackToTag(t *testing.T) {
	for _, test := range []struct {
		responses map[string]response
		requests  int // number of API requests for two lists
	}{{noReferrersAPI, 1}, {noReferrersForDigest, 2}, {notReferrerLists, 2}} {
		for name, a := range test.responses {
			t.Run(name, func(t *testing.T) {
				p, subject := registryWithReferrers(t, registrytest.Behaviour{}, registrytest.Image{}, 1)
				p.On("GET", anyReferrers).Reply(a.status, a.header, a.body)
				repo := newClient(t).pull(t, p.Addr+"/app")
				for range 2 {
					listing, err := repo.ListReferrers(t.Context(), subject)
					if err != nil || !slices.Equal(digests(listing), p.Referrers(t, "app", subject)) || listing.Tag != registrytest.ReferrersTag(subject) {
						t.Errorf("ListReferrers() = %v with tag %q, %v; want tag %q", digests(listing), listing.Tag, err, registrytest.ReferrersTag(subject))
					}
				}
				if got := p.Count("GET", anyReferrers); got != test.requests {
					t.Errorf("API requests = %d, want %d", got, test.requests)
				}
			})
		}
	}
}

func TestListReferrers_SupportPerRepository(t *testing.T) {
	p, subject := registryWithReferrers(t, registrytest.Behaviour{Referrers: true}, registrytest.Image{}, 1)
	p.On("GET", "/v2/old/referrers/.*").Reply(404, nil, "")
	c := newClient(t)
	for range 2 {
		if listing, err := c.pull(t, p.Addr+"/old").ListReferrers(t.Context(), subject); err != nil || listing.Tag == "" {
			t.Errorf("ListReferrers() of old = tag %q, %v", listing.Tag, err)
		}
		if listing, err := c.pull(t, p.Addr+"/app").ListReferrers(t.Context(), subject); err != nil || listing.Tag != "" || len(listing.Referrers) != 1 {
			t.Errorf("ListReferrers() of app = tag %q, %v", listing.Tag, err)
		}
	}
	if p.Count("GET", "/v2/old/referrers/.*") != 1 || p.Count("GET", "/v2/app/referrers/.*") != 2 {
		t.Errorf("requests = %s", sentRequests(p))
	}
}

// apiFailures are responses that do not tell whether a list exists.
var apiFailures = map[string]struct {
	rule    func(*registrytest.Rule)
	retried bool
	want    error
}{
	"401":                 {reply(errorResponse(401, "UNAUTHORIZED")), false, registry.ErrUnauthorized},
	"403":                 {reply(errorResponse(403, "DENIED")), false, registry.ErrDenied},
	"404_denied":          {reply(errorResponse(404, "DENIED")), false, registry.ErrDenied},
	"404_unauthorized":    {reply(errorResponse(404, "UNAUTHORIZED")), false, registry.ErrDenied},
	"429":                 {reply(errorResponse(429, "TOOMANYREQUESTS")), true, registry.ErrRateLimited},
	"404_toomanyrequests": {reply(errorResponse(404, "TOOMANYREQUESTS")), true, registry.ErrRateLimited},
	"500":                 {reply(response{500, nil, ""}), true, registry.ErrUnavailable},
	"502_web_page":        {reply(response{502, contentType("text/html"), "<html>"}), true, registry.ErrUnavailable},
	"503":                 {reply(errorResponse(503, "UNAVAILABLE")), true, registry.ErrUnavailable},
	"504":                 {reply(response{504, nil, ""}), true, registry.ErrUnavailable},
	"reset":               {func(r *registrytest.Rule) { r.Reset() }, true, registry.ErrUnavailable},
	"truncated_200":       {func(r *registrytest.Rule) { r.Do(truncated(200)) }, true, registry.ErrUnavailable},
	"truncated_404":       {func(r *registrytest.Rule) { r.Do(truncated(404)) }, true, registry.ErrUnavailable},
	"truncated_400":       {func(r *registrytest.Rule) { r.Do(truncated(400)) }, true, registry.ErrUnavailable},
	"compressed":          {reply(response{200, http.Header{"Content-Type": indexHeader["Content-Type"], "Content-Encoding": {"gzip"}}, "x"}), false, registry.ErrProtocol},
	"redirected_to_file":  {reply(response{302, http.Header{"Location": {"file:///etc/passwd"}}, ""}), false, registry.ErrForbiddenRedirect},
}

func reply(a response) func(*registrytest.Rule) {
	return func(r *registrytest.Rule) { r.Reply(a.status, a.header, a.body) }
}

// truncated returns a handler whose response ends early.
func truncated(status int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"manifests":[`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func TestListReferrers_APIFailure(t *testing.T) {
	for name, test := range apiFailures {
		t.Run(name, func(t *testing.T) {
			p, subject := registryWithReferrers(t, registrytest.Behaviour{Referrers: true}, registrytest.Image{}, 1)
			test.rule(p.On("GET", anyReferrers))
			c := newClient(t)
			repo := c.pull(t, p.Addr+"/app")
			listing, err := repo.ListReferrers(c.context(t), subject)
			assertErrorKind(t, err, test.want)
			if _, retries := c.sent(); (retries > 0) != test.retried || len(listing.Referrers) != 0 {
				t.Errorf("retries = %d, ListReferrers() = %v, want no referrers", retries, listing.Referrers)
			}
			if p.Count("GET", "/v2/app/manifests/.*") != 0 {
				t.Error("the client requested the tag, want only the API")
			}
			p.Clear()
			test.rule(p.On("GET", anyReferrers).Times(map[bool]int{true: 1}[test.retried]))
			if listing, err = repo.ListReferrers(t.Context(), subject); err != nil || len(listing.Referrers) != 1 {
				t.Errorf("ListReferrers() after the failure = %v, %v", digests(listing), err)
			}
		})
	}
}

func TestListReferrers_TagFailure(t *testing.T) {
	rows := map[string]struct {
		rule func(*registrytest.Rule)
		want error
	}{"404_web_page": {reply(noReferrersAPI["404_web_page"]), registry.ErrProtocol}, "web_page": {reply(notReferrerLists["web_page"]), registry.ErrProtocol}}
	for name, test := range apiFailures {
		rows[name] = struct {
			rule func(*registrytest.Rule)
			want error
		}{test.rule, test.want}
	}
	for name, test := range rows {
		t.Run(name, func(t *testing.T) {
			p, subject := registryWithReferrers(t, registrytest.Behaviour{}, registrytest.Image{}, 1)
			test.rule(p.On("GET", "/v2/app/manifests/sha256-.*"))
			listing, err := newClient(t).pull(t, p.Addr+"/app").ListReferrers(t.Context(), subject)
			if assertErrorKind(t, err, test.want); len(listing.Referrers) != 0 {
				t.Errorf("ListReferrers() = %v, want none", digests(listing))
			}
		})
	}
}

func TestListReferrers_SecondPageFailure(t *testing.T) {
	kinds := map[string]error{
		"404_name_unknown": registry.ErrNotFound, "404_manifest_unknown": registry.ErrNotFound, "400_digest_invalid": registry.ErrMismatch,
		"404_unsupported": registry.ErrUnsupported, "400_unsupported": registry.ErrUnsupported, "405": registry.ErrUnsupported,
		"405_unsupported": registry.ErrUnsupported, "501": registry.ErrUnsupported,
	}
	rules := map[string]func(*registrytest.Rule){}
	for _, responses := range []map[string]response{notReferrerLists, noReferrersAPI, noReferrersForDigest} {
		for name, a := range responses {
			if rules[name] = reply(a); kinds[name] == nil {
				kinds[name] = registry.ErrProtocol
			}
		}
	}
	for name, test := range apiFailures {
		rules[name], kinds[name] = test.rule, test.want
	}
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) {
			p, subject := registryWithReferrers(t, registrytest.Behaviour{Referrers: true, PageSize: 1}, registrytest.Image{}, 3)
			rule(p.On("GET", anyReferrers).After(1))
			repo := newClient(t).pull(t, p.Addr+"/app")
			listing, err := repo.ListReferrers(t.Context(), subject)
			if assertErrorKind(t, err, kinds[name]); len(listing.Referrers) != 0 || p.Count("GET", "/v2/app/manifests/.*") != 0 {
				t.Errorf("ListReferrers() = %v after the requests %s, want none", digests(listing), sentRequests(p))
			}
			p.Clear()
			if listing, err = repo.ListReferrers(t.Context(), subject); err != nil || len(listing.Referrers) != 3 {
				t.Errorf("ListReferrers() after the failure = %v, %v", digests(listing), err)
			}
		})
	}
}

func TestListReferrers_InvalidEntry(t *testing.T) {
	hex := digest.FromString("a").Encoded()
	for name, test := range map[string]struct {
		entry string
		want  error
	}{
		"short_digest":           {entryOf("sha256:abc"), registry.ErrInvalidManifest},
		"upper_case_digest":      {entryOf("sha256:" + strings.ToUpper(hex)), registry.ErrInvalidManifest},
		"unknown_algorithm":      {entryOf("blake3:" + hex), registry.ErrInvalidManifest},
		"path_in_digest":         {entryOf("sha256:../../x"), registry.ErrInvalidManifest},
		"percent_encoded_digest": {entryOf("sha256%3A" + hex), registry.ErrInvalidManifest},
		"no_digest":              {`{"size":7}`, registry.ErrInvalidManifest},
		"null":                   {`null`, registry.ErrInvalidManifest},
		"negative_size":          {`{"digest":"sha256:` + hex + `","size":-1}`, registry.ErrInvalidManifest},
		"duplicate_key":          {`{"digest":"sha256:` + hex + `","size":1,"size":2}`, registry.ErrInvalidManifest},
		"key_in_other_case":      {`{"digest":"sha256:` + hex + `","size":1,"Digest":""}`, registry.ErrInvalidManifest},
		"wrong_inline_data":      {`{"digest":"sha256:` + hex + `","size":1,"data":"Yg=="}`, registry.ErrMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			list := response{200, indexHeader, index(entry("signature"), test.entry)}
			for path, behaviour := range map[string]registrytest.Behaviour{"referrers/.*": {Referrers: true}, "manifests/sha256-.*": {}} {
				p, subject := registryWithReferrers(t, behaviour, registrytest.Image{}, 0)
				reply(list)(p.On("GET", "/v2/app/"+path))
				_, err := newClient(t).pull(t, p.Addr+"/app").ListReferrers(t.Context(), subject)
				assertContains(t, assertErrorKind(t, err, test.want).Error(), "cannot list the referrers of "+subject.String())
				if behaviour.Referrers && len(p.Requests()) != 1 {
					t.Errorf("requests = %s", sentRequests(p))
				}
			}
		})
	}
}

func TestListReferrers_TagContent(t *testing.T) {
	image, other := registrytest.Image{Seed: "a"}, registrytest.Image{Seed: "b"}.Build()
	two := registrytest.Image{Seed: "a", Algorithm: digest.SHA512}
	list := registrytest.MultiArch("a").Build()
	content := func(m registrytest.Manifest) response {
		return response{200, contentType(m.MediaType), string(m.Bytes)}
	}
	for name, test := range map[string]struct {
		subject  registrytest.Content
		response response
		listed   int
		held     bool
	}{
		"not_found":                {image, errorResponse(404, "MANIFEST_UNKNOWN"), 0, false},
		"repository_not_found":     {image, errorResponse(404, "NAME_UNKNOWN"), 0, false},
		"list":                     {image, response{200, indexHeader, index(entry("a"), entry("b"))}, 2, true},
		"list_type_with_parameter": {image, response{200, contentType(ocispec.MediaTypeImageIndex + "; charset=utf-8"), index(entry("a"))}, 1, true},
		"list_with_duplicate":      {image, response{200, indexHeader, index(entry("a"), entry("b"), entry("a"))}, 2, true},
		"empty_list":               {image, response{200, indexHeader, index()}, 0, true},
		"null_list":                {image, response{200, indexHeader, `{"manifests":null}`}, 0, true},
		"other_image":              {image, content(other), 0, true},
		"docker_list":              {image, content(registrytest.DockerList("a").Build()), 0, true},
		"malformed":                {image, response{200, indexHeader, "<html>"}, 0, true},
		"null":                     {image, response{200, indexHeader, "null"}, 0, true},
		"subject_image":            {image, content(image.Build()), 0, false},
		"subject_index":            {list, content(list), 0, false},
		"subject_sha512_image":     {two, content(two.Build()), 0, false},
		"subject_sha512_index":     {registrytest.Index{Algorithm: digest.SHA512, Manifests: []registrytest.Content{image}}, content(registrytest.Index{Manifests: []registrytest.Content{image}}.Build()), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := registrytest.Front(t, registrytest.Behaviour{})
			reply(test.response)(p.On("GET", "/v2/app/manifests/sha[0-9]+-[0-9a-f]{64}"))
			subject := test.subject.Build().Digest
			listing, err := newClient(t).pull(t, p.Addr+"/app").ListReferrers(t.Context(), subject)
			if err != nil || len(listing.Referrers) != test.listed || listing.Tag != registrytest.ReferrersTag(subject) {
				t.Errorf("ListReferrers() = %v with tag %q, %v; want tag %q", digests(listing), listing.Tag, err, registrytest.ReferrersTag(subject))
			}
			if got := string(listing.Held.Content); got != map[bool]string{true: test.response.body}[test.held] {
				t.Errorf("Held.Content = %q", got)
			}
		})
	}
}

// serveReferrerPages serves a paged list of referrers and counts the requested pages.
func serveReferrerPages(t *testing.T, page func(n int) (body string, more bool)) (string, *atomic.Int32) {
	t.Helper()
	var pages atomic.Int32
	server := servePlain(t, func(w http.ResponseWriter, _ *http.Request) {
		n := int(pages.Add(1))
		body, more := page(n)
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		if more {
			w.Header().Set("Link", fmt.Sprintf(`<?page=%d>; rel="next"`, n+1))
		}
		_, _ = io.WriteString(w, body)
	})
	return address(server) + "/app", &pages
}

// numbered returns n entries, numbered starting with from.
func numbered(from, n int) []string {
	entries := make([]string, n)
	for i := range entries {
		entries[i] = entry(fmt.Sprint(from + i))
	}
	return entries
}

func TestListReferrers_Limits(t *testing.T) {
	const most = registry.MaxReferrers
	for name, test := range map[string]struct {
		page  func(n int) (string, bool)
		pages int32
		want  string // text of the ErrLimit; empty for no error
	}{
		"at_limit":             {func(n int) (string, bool) { return index(numbered(n*most/4, most/4)...), n < 4 }, 4, ""},
		"repeated_entries":     {func(n int) (string, bool) { return index(numbered(0, most)...), n < 2 }, 2, ""},
		"one_too_many":         {func(n int) (string, bool) { return index(numbered(n*most, []int{most, 1, 1}[n-1])...), n < 3 }, 2, "more than 10000 manifests"},
		"one_too_many_on_page": {func(int) (string, bool) { return index(numbered(0, most+1)...), false }, 1, "more than 10000 entries"},
		"100000_on_one_page":   {func(int) (string, bool) { return index(numbered(0, 100_000)...), false }, 1, "longer than 4194304 bytes"},
		"100000_on_ten_pages":  {func(n int) (string, bool) { return index(numbered(n*most, most)...), n < 10 }, 2, "more than 10000 manifests"},
		"long_page":            {func(int) (string, bool) { return index(strings.Repeat(" ", 4<<20)), false }, 1, "longer than 4194304 bytes"},
		"many_long_pages":      {func(n int) (string, bool) { return index(strings.Repeat(" ", 4<<20-1000) + entry(fmt.Sprint(n))), true }, 5, "longer than the 16 MiB"},
		"endless_pages":        {func(int) (string, bool) { return index(), true }, 4, "more than 3 of its pages in a row list nothing new"},
		"same_page":            {func(int) (string, bool) { return index(entry("a")), true }, 5, "more than 3 of its pages in a row list nothing new"},
	} {
		t.Run(name, func(t *testing.T) {
			repo, pages := serveReferrerPages(t, test.page)
			listing, err := newClient(t).pull(t, repo).ListReferrers(t.Context(), digest.FromString("subject"))
			if test.want != "" {
				assertContains(t, assertErrorKind(t, err, registry.ErrLimit).Error(), test.want)
			} else if err != nil || len(listing.Referrers) != most {
				t.Errorf("ListReferrers() returned %d referrers, %v; want %d", len(listing.Referrers), err, most)
			}
			if pages.Load() != test.pages {
				t.Errorf("requested pages = %d, want %d", pages.Load(), test.pages)
			}
		})
	}
}

func TestListReferrers_Memory(t *testing.T) {
	blanks := strings.Repeat(" ", 4<<20-1000)
	long := index(entry("a"), blanks+entry("b"))
	repo, pages := serveReferrerPages(t, func(n int) (string, bool) { return index(entry("a"), blanks+entry(fmt.Sprint(n))), n < 1000 })
	c := newClient(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := c.pull(t, repo).ListReferrers(t.Context(), digest.FromString("subject"))
	runtime.ReadMemStats(&after)
	assertErrorKind(t, err, registry.ErrLimit)
	// A page is read into a buffer that grows by doubling, and parsed.
	if n := after.TotalAlloc - before.TotalAlloc; n > 5*16*uint64(len(long)) || pages.Load() != 5 {
		t.Errorf("allocated bytes = %d for %d pages, want the memory of 5 pages", n, pages.Load())
	}
}

func TestListReferrers_Canceled(t *testing.T) {
	for name, test := range map[string]struct {
		behaviour registrytest.Behaviour
		path      string
		after     int
	}{
		"first_page":  {registrytest.Behaviour{Referrers: true, PageSize: 1}, anyReferrers, 0},
		"second_page": {registrytest.Behaviour{Referrers: true, PageSize: 1}, anyReferrers, 1},
		"tag":         {registrytest.Behaviour{}, "/v2/app/manifests/.*", 0},
	} {
		t.Run(name, func(t *testing.T) {
			p, subject := registryWithReferrers(t, test.behaviour, registrytest.Image{}, 2)
			stalled := p.On("GET", test.path).After(test.after).Stall()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			repo := newClient(t).pull(t, p.Addr+"/app")
			go func() {
				_, err := repo.ListReferrers(ctx, subject)
				ended <- err
			}()
			p.Wait(t, func() bool { return stalled.Taken() == 1 })
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("ListReferrers() = %v, want context.Canceled", err)
			}
			if got := p.Count("GET", test.path); got != test.after+1 {
				t.Errorf("requests = %d, want %d", got, test.after+1)
			}
		})
	}
}

func TestListReferrers_InvalidDigest(t *testing.T) {
	c := newClient(t)
	for _, d := range []digest.Digest{"", "latest", "sha256:abc", "sha256:../../x", "md5:d41d8cd98f00b204e9800998ecf8427e"} {
		_, err := c.pull(t, "127.0.0.1:1/app").ListReferrers(c.context(t), d)
		assertErrorKind(t, err, registry.ErrInvalidReference)
	}
	if sent, _ := c.sent(); sent != 0 {
		t.Errorf("requests = %d, want 0", sent)
	}
}
