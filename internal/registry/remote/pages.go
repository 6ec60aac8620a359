package remote

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	// maxPages bounds how long a list may be.
	maxPages = 1000
	// maxPageBytes is the cap on one page of a list.
	maxPageBytes = 4 << 20
	// maxListBytes is the cap on all pages of a list together.
	maxListBytes = 16 << 20
	// maxBarrenPages is how many pages in a row may list nothing new. The number of entries is
	// bounded elsewhere, so this bounds the number of pages between two entries.
	maxUnproductivePages = 3
)

// listBudget bounds the pages of one list. The zero value is ready for use.
type listBudget struct {
	bytes        int64
	unproductive int // pages in a row that listed nothing new
}

// spend accounts for a page of the given size, and reports an error if the list exceeds its bounds.
// grew reports whether the page listed anything new.
func (b *listBudget) spend(size int, grew bool) error {
	exceeded := func(message string) error {
		return &registry.Error{Kind: registry.ErrLimit, Message: message, Hint: registry.DefaultHint(registry.ErrLimit)}
	}
	if b.bytes += int64(size); b.bytes > maxListBytes {
		return exceeded("the list is longer than the " + formatBytes(maxListBytes) + " that are read")
	}
	if b.unproductive++; grew {
		b.unproductive = 0
	}
	if b.unproductive > maxUnproductivePages {
		return exceeded(fmt.Sprintf("more than %d of its pages in a row list nothing new", maxUnproductivePages))
	}
	return nil
}

// pages sends a request for a list, and for its further pages, which stay at the
// registry's origin, and gives each answer to read. A list that cannot be
// followed to its end is an error and not a shorter list.
func (r *repository) pages(ctx context.Context, q request, read func(*http.Response, *registry.Charge) error) error {
	visited := map[[sha256.Size]byte]bool{} // their URLs may be long
	for page := range maxPages {
		key := sha256.Sum256([]byte(q.url.String()))
		if visited[key] {
			return r.wrapRequest(q, &registry.Error{Kind: registry.ErrProtocol, Message: "its pages go in a circle", Hint: notARegistryHint})
		}
		visited[key] = true
		var links []string
		err := r.withMemory(ctx, q, func(memory *registry.Charge) error {
			return r.do(ctx, q, func(resp *http.Response) error {
				links = resp.Header.Values("Link")
				return read(resp, memory)
			})
		})
		if err != nil {
			return withPageCount(page, err)
		}
		next, err := r.nextPage(q.url, links)
		if err != nil {
			return r.wrapRequest(q, err)
		}
		if next == nil {
			return nil
		}
		q.url = next
	}
	return r.wrapRequest(q, &registry.Error{Kind: registry.ErrLimit, Message: fmt.Sprintf("the list has more than %d pages", maxPages), Hint: registry.DefaultHint(registry.ErrLimit)})
}

// afterPages adds to the error of an operation whose time ran out how many pages had been read:
// a registry that answers every request can still page for longer than the operation may take.
func withPageCount(pages int, err error) error {
	if pages == 0 || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return modifyError(err, func(e *registry.Error) {
		e.Message = joinText(e.Message, fmt.Sprintf("the list has more than the %d pages read so far", pages))
	})
}

// link is one element of a Link header (RFC 8288, section 3).
var link = regexp.MustCompile(`<([^>]*)>((?:[^,"<]|"[^"]*")*)`)

// nextPage is where Link headers say the next page is, nil where there are none
// or they say other things. What cannot be read may be a next page.
func (r *repository) nextPage(from *url.URL, headers []string) (*url.URL, error) {
	links := link.FindAllStringSubmatch(strings.Join(headers, ","), -1)
	unreadable := &registry.Error{Kind: registry.ErrProtocol, Message: "its Link header cannot be read", Hint: notARegistryHint}
	if len(links) == 0 && strings.TrimSpace(strings.Join(headers, "")) != "" {
		return nil, unreadable
	}
	for _, match := range links {
		href, relations := match[1], relationsOf(match[2])
		if href == "" || len(relations) == 0 {
			return nil, unreadable
		}
		if slices.Contains(relations, "next") {
			next, err := r.client.target(r.host, from, href)
			switch {
			case err != nil:
				return nil, err
			case !r.host.isOrigin(next):
				return nil, forbiddenRedirect("the registry has its next page at " + registry.RedactURL(next))
			case from.Scheme == "https" && strings.HasPrefix(strings.ToLower(href), "http:"):
				return nil, forbiddenRedirect("the registry has its next page in plain HTTP")
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
