package remote_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

func TestListTags_AllPages(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{PageSize: 2}, registrytest.BasicAuth("ci", canary))
	p.Push(t, "app", "a", registrytest.Image{Seed: "a"})
	want := []string{"a", "b", "c", "d", "e"}
	for _, tag := range want[1:] {
		p.Retag(t, "app", "a", tag)
	}
	p.Forget()
	c := newClient(t, withDockerConfig(`{"auths":{"`+p.Addr+`":{"username":"ci","password":"`+canary+`"}}}`))
	got, err := c.pull(t, p.Ref("app", "1")).ListTags(t.Context())
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("ListTags() = %q, %v; want %q", got, err, want)
	}
	if p.Count("GET", ".*") != 4 { // the first one also without credentials
		t.Errorf("requests = %s", sentRequests(p))
	}
	_, err = c.pull(t, p.Ref("none", "1")).ListTags(t.Context())
	assertErrorKind(t, err, registry.ErrNotFound)
}

// pagedLists are the operations that read paged lists, keyed by their path in a
// repository. Each returns the length of the list.
var pagedLists = map[string]func(ctx context.Context, repo registry.Repository) (int, error){
	"tags/list?n=1000": func(ctx context.Context, repo registry.Repository) (int, error) {
		tags, err := repo.ListTags(ctx)
		return len(tags), err
	},
	"referrers/" + digest.FromString("subject").String(): func(ctx context.Context, repo registry.Repository) (int, error) {
		listing, err := repo.ListReferrers(ctx, digest.FromString("subject"))
		return len(listing.Referrers), err
	},
}

// writePage responds with one page of either list, which has one entry.
func writePage(w http.ResponseWriter, r *http.Request, page int) {
	if strings.Contains(r.URL.Path, "/referrers/") {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_, _ = io.WriteString(w, index(entry(fmt.Sprint(page))))
		return
	}
	_, _ = fmt.Fprintf(w, `{"name":"app","tags":["tag%d"]}`, page)
}

// servePages starts a registry that serves pages with one entry each. The function link
// returns the Link header of each page.
func servePages(t *testing.T, link func(page int) string) (string, *atomic.Int32) {
	t.Helper()
	var pages atomic.Int32
	server := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
		page := int(pages.Add(1))
		w.Header().Set("Link", link(page))
		writePage(w, r, page)
	})
	return address(server), &pages
}

func TestNextPage_SameRegistry(t *testing.T) {
	for link, test := range map[string]struct {
		pages int32
		want  error
	}{
		`</v2/app/LIST?page=%d>; rel="next"`:                               {2, nil},
		`</v2/app/LIST?page=%d>;rel=next`:                                  {2, nil},
		`</first>; rel="first", </v2/app/LIST?page=%d,2>; rel="prev next"`: {2, nil},
		`<?page=%d>; title="a, <b>"; REL="next"`:                           {2, nil},
		`<https://other.example.com/v2/app/LIST?%d>; rel="next"`:           {1, registry.ErrForbiddenRedirect},
		`<//127.0.0.1:1/v2/app/LIST?%d>; rel="next"`:                       {1, registry.ErrForbiddenRedirect},
		`<http://other.example.com/v2/app/LIST?%d>; rel="next"`:            {1, registry.ErrForbiddenRedirect},
		`<http://localhost:1/v2/app/LIST?%d>; rel="next"`:                  {1, registry.ErrForbiddenRedirect},
		`<file:///etc/passwd?%d>; rel="next"`:                              {1, registry.ErrForbiddenRedirect},
		`<http://[%d>; rel="next"`:                                         {1, registry.ErrProtocol},
		`</v2/app/LIST?page=%d>; rel="last"`:                               {1, nil},
		// A malformed link may be a link to a next page. An incomplete list is dangerous,
		// because manifests that are not on the list may be deleted.
		`</v2/app/LIST?page=%d>`: {1, registry.ErrProtocol},
		`<>; rel="next"; %d`:     {1, registry.ErrProtocol},
		`<>%d`:                   {1, registry.ErrProtocol},
		`garbage %d`:             {1, registry.ErrProtocol},
	} {
		for path, list := range pagedLists {
			path, _, _ = strings.Cut(path, "?")
			host, pages := servePages(t, func(page int) string {
				if page > 1 {
					return ""
				}
				return fmt.Sprintf(strings.ReplaceAll(link, "LIST", path), page+1)
			})
			got, err := list(t.Context(), newClient(t).pull(t, host+"/app"))
			if test.want != nil {
				assertErrorKind(t, err, test.want)
			} else if err != nil || got != int(test.pages) {
				t.Errorf("%s: entries of %s = %d, %v; want %d", link, path, got, err, test.pages)
			}
			if pages.Load() != test.pages {
				t.Errorf("%s: requested pages of %s = %d, want %d", link, path, pages.Load(), test.pages)
			}
		}
	}
}

func TestNextPage_PlainHTTP(t *testing.T) {
	for _, next := range []string{
		"http://registry.example.com/v2/app/tags/list?page=2", "HTTP://registry.example.com:443/v2/app/tags/list?page=2",
		"http://registry.example.com:8080/v2/app/tags/list?page=2", "http://other.example.com/v2/app/tags/list?page=2",
	} {
		for path, list := range pagedLists {
			n := newFakeNetwork(t)
			n.name("other.example.com", otherAddress)
			n.serve(t, "registry.example.com", registryAddress, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Link", "<"+next+`>; rel="next"`)
				writePage(w, r, 1)
			})
			c := newClient(t, n.options, settings(n.trustedHosts("registry.example.com")))
			_, err := list(c.context(t), c.pull(t, "registry.example.com/app"))
			assertErrorKind(t, err, registry.ErrForbiddenRedirect)
			if sent, _ := c.sent(); sent != 1 || !slices.Equal(n.dials(), []string{registryAddress + ":443"}) {
				t.Errorf("%s with next page %s: requests = %d, dialed addresses = %s", path, next, sent, n.dials())
			}
		}
	}
}

func TestNextPage_EndlessList(t *testing.T) {
	for name, test := range map[string]struct {
		link  func(path string, page int) string
		pages int32
		want  error
	}{
		"same_page": {func(path string, _ int) string { return "/v2/app/" + path }, 1, registry.ErrProtocol},
		"loop":      {func(_ string, page int) string { return fmt.Sprintf("?%d", page%3) }, 4, registry.ErrProtocol},
		"endless":   {func(_ string, page int) string { return fmt.Sprintf("?%d", page) }, remote.MaxPages, registry.ErrLimit},
	} {
		for path, list := range pagedLists {
			host, pages := servePages(t, func(page int) string { return "<" + test.link(path, page) + `>; rel="next"` })
			got, err := list(t.Context(), newClient(t).pull(t, host+"/app"))
			if assertErrorKind(t, err, test.want); got != 0 {
				t.Errorf("%s: entries of %s = %d, want 0", name, path, got)
			}
			if pages.Load() != test.pages {
				t.Errorf("%s: requested pages of %s = %d, want %d", name, path, pages.Load(), test.pages)
			}
		}
	}
}

func TestListTags_InvalidResponse(t *testing.T) {
	many := make([]string, remote.MaxTags+1)
	for i := range many {
		many[i] = fmt.Sprintf("t%d", i)
	}
	tooMany, err := json.Marshal(map[string]any{"tags": many})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		body string
		want error
	}{
		"web_page":    {"<html>", registry.ErrProtocol},
		"null":        {"null", registry.ErrProtocol},
		"array":       {"[]", registry.ErrProtocol},
		"empty":       {"", registry.ErrProtocol},
		"wrong_types": {`{"tags":[1]}`, registry.ErrProtocol},
		"invalid_tag": {`{"tags":["../x"]}`, registry.ErrProtocol},
		"long_tag":    {`{"tags":["` + strings.Repeat("a", 129) + `"]}`, registry.ErrProtocol},
		"too_many":    {string(tooMany), registry.ErrLimit},
		"too_long":    {`{"tags":[` + strings.Repeat(" ", 4<<20) + `]}`, registry.ErrLimit},
		"null_tags":   {`{"name":"app","tags":null}`, nil},
		"no_tags":     {`{"name":"app"}`, registry.ErrProtocol},
	} {
		server := servePlain(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, test.body)
		})
		got, err := newClient(t).pull(t, address(server)+"/app").ListTags(t.Context())
		if test.want != nil {
			assertContains(t, assertErrorKind(t, err, test.want).Error(), address(server))
		} else if err != nil || len(got) != 0 {
			t.Errorf("%s: ListTags() = %q, %v", name, got, err)
		}
	}
}
