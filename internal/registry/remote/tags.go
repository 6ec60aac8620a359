package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	// maxPages and maxTags bound what a list may be.
	maxPages = 1000
	maxTags  = 100_000
	// maxPageBytes is the cap on one page of a list.
	maxPageBytes = 4 << 20
)

// ListTags follows the pages of the tag list (OCI distribution specification,
// "Listing Tags"), which stay at the registry's origin.
func (r *repository) ListTags(ctx context.Context) ([]string, error) {
	next := r.url("tags/list")
	next.RawQuery = "n=1000"
	var tags []string
	seen := map[string]bool{}
	for range maxPages {
		if seen[next.String()] {
			return tags, nil // a list that goes in circles has been read whole
		}
		seen[next.String()] = true
		var page struct {
			Tags []string `json:"tags"`
		}
		var link string
		q := request{op: "list the tags", method: http.MethodGet, url: next, scopes: r.scopes(), ok: []int{http.StatusOK}}
		err := r.do(ctx, q, func(resp *http.Response) error {
			body, err := readCapped(resp.Body, maxPageBytes)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(body, &page); err != nil {
				return &registry.Error{Kind: registry.ErrProtocol, Message: "the answer is no list of tags: " + registry.Clean(err.Error())}
			}
			link = resp.Header.Get("Link")
			return nil
		})
		if err != nil {
			return nil, err
		}
		if tags = append(tags, page.Tags...); len(tags) > maxTags {
			return nil, &registry.Error{Op: q.op, Repository: r.Name(), Kind: registry.ErrLimit, Message: fmt.Sprintf("it has more than %d", maxTags)}
		}
		if next, err = r.nextPage(next, link); err != nil {
			return nil, r.broken(q, err)
		}
		if next == nil {
			return tags, nil
		}
	}
	return nil, &registry.Error{Op: "list the tags", Repository: r.Name(), Kind: registry.ErrLimit, Message: fmt.Sprintf("the list has more than %d pages", maxPages)}
}

// nextPage is where a Link header (RFC 8288) says the next page is, nil where
// it says none.
func (r *repository) nextPage(from *url.URL, link string) (*url.URL, error) {
	place, parameters, found := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
	if !found || place == "" || !strings.Contains(strings.ReplaceAll(parameters, `"`, ""), "rel=next") {
		return nil, nil
	}
	next, err := target(from, place)
	if err != nil {
		return nil, err
	}
	if !sameOrigin(next, r.host.origin) {
		return nil, &registry.Error{Kind: registry.ErrForbiddenHop, Message: "its next page would be at " + registry.CleanURL(next)}
	}
	return next, nil
}
