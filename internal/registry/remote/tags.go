package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
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
// "Listing Tags"), which stay at the registry's origin. A list that cannot be
// followed to its end is an error and not a shorter list: manifests are deleted
// by what is on it.
func (r *repository) ListTags(ctx context.Context) ([]string, error) {
	next := r.url("tags/list")
	next.RawQuery = "n=1000"
	var tags []string
	seen := map[string]bool{}
	for range maxPages {
		if seen[next.String()] {
			return nil, &registry.Error{Op: "list the tags", Repository: r.Name(), Kind: registry.ErrProtocol, Message: "its pages go in a circle", Hint: notARegistry}
		}
		seen[next.String()] = true
		var page *struct {
			Tags json.RawMessage `json:"tags"`
		}
		var list []string
		var links []string
		q := request{op: "list the tags", object: "tags", method: http.MethodGet, url: next, scopes: r.scopes(), ok: []int{http.StatusOK}}
		err := r.do(ctx, q, func(resp *http.Response) error {
			body, err := registry.ReadCapped(resp.Body, maxPageBytes)
			if err != nil {
				return err
			}
			// "tags" is null where there is none, but it is always there.
			if json.Unmarshal(body, &page) != nil || page == nil || json.Unmarshal(page.Tags, &list) != nil {
				return &registry.Error{Kind: registry.ErrProtocol, Hint: notARegistry,
					Message: fmt.Sprintf("the answer, of Content-Type %q, is no list of tags", registry.Clean(resp.Header.Get("Content-Type")))}
			}
			links = resp.Header.Values("Link")
			return nil
		})
		if err != nil {
			return nil, err
		}
		if tags, err = r.appendTags(tags, list); err != nil {
			return nil, r.broken(q, err)
		}
		if next, err = r.nextPage(next, links); err != nil {
			return nil, r.broken(q, err)
		}
		if next == nil {
			return tags, nil
		}
	}
	return nil, &registry.Error{Op: "list the tags", Repository: r.Name(), Kind: registry.ErrLimit, Message: fmt.Sprintf("the list has more than %d pages", maxPages), Hint: registry.Advice(registry.ErrLimit)}
}

// appendTags refuses what is no tag, which also bounds the memory that a list
// takes.
func (r *repository) appendTags(tags, more []string) ([]string, error) {
	for _, tag := range more {
		if !tagGrammar.MatchString(tag) {
			return nil, &registry.Error{Kind: registry.ErrProtocol, Message: fmt.Sprintf("the list has %q in it, which is no tag", registry.Clean(tag))}
		}
	}
	if tags = append(tags, more...); len(tags) > maxTags {
		return nil, &registry.Error{Kind: registry.ErrLimit, Message: fmt.Sprintf("it has more than %d", maxTags)}
	}
	return tags, nil
}

// link is one element of a Link header (RFC 8288, section 3).
var link = regexp.MustCompile(`<([^>]*)>((?:[^,"<]|"[^"]*")*)`)

// nextPage is where Link headers say the next page is, nil where there are none
// or they say other things. What cannot be read may be a next page.
func (r *repository) nextPage(from *url.URL, headers []string) (*url.URL, error) {
	links := link.FindAllStringSubmatch(strings.Join(headers, ","), -1)
	unreadable := &registry.Error{Kind: registry.ErrProtocol, Message: "its Link header cannot be read", Hint: notARegistry}
	if len(links) == 0 && strings.TrimSpace(strings.Join(headers, "")) != "" {
		return nil, unreadable
	}
	for _, match := range links {
		place, relations := match[1], relationsOf(match[2])
		if place == "" || len(relations) == 0 {
			return nil, unreadable
		}
		if slices.Contains(relations, "next") {
			next, err := r.client.target(r.host, from, place)
			switch {
			case err != nil:
				return nil, err
			case !r.host.isOrigin(next):
				return nil, refusedHop("the registry has its next page at " + registry.CleanURL(next))
			case from.Scheme == "https" && strings.HasPrefix(strings.ToLower(place), "http:"):
				return nil, refusedHop("the registry has its next page in plain HTTP")
			}
			return next, nil
		}
	}
	return nil, nil
}

// linkParameter is one parameter of a link, with what it is set to.
var linkParameter = regexp.MustCompile(`^\s*;\s*([^\s;="]+)\s*(?:=\s*(?:"([^"]*)"|([^\s;"]*)))?\s*`)

// relationsOf are what the parameters of a link say that it is, in lower case:
// those of the first rel that there is. None where they cannot be read.
func relationsOf(parameters string) (relations []string) {
	for strings.Trim(parameters, "; \t") != "" {
		found := linkParameter.FindStringSubmatch(parameters)
		if found == nil {
			return nil
		}
		if relations == nil && strings.EqualFold(found[1], "rel") {
			relations = strings.Fields(strings.ToLower(found[2] + found[3]))
		}
		parameters = parameters[len(found[0]):]
	}
	return relations
}
