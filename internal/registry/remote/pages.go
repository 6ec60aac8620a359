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
	// maxPages bounds the number of pages of a list.
	maxPages = 1000
	// maxPageBytes bounds the size of one page of a list.
	maxPageBytes = 4 << 20
	// maxListBytes bounds the total size of all pages of a list.
	maxListBytes = 16 << 20
	// maxUnproductivePages is how many pages in a row may list nothing new. The number of
	// entries is bounded elsewhere, so this bounds the number of pages between two entries.
	maxUnproductivePages = 3
)

// listBudget bounds the pages of one list. The zero value is ready to use.
type listBudget struct {
	bytes        int64
	unproductive int // pages in a row that listed nothing new
}

// spend accounts for a page of the given size and returns an error if the list exceeds its
// bounds. grew reports whether the page listed anything new.
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

// pages requests a list page by page and calls read with each response. All pages must be
// at the registry's origin. If the list cannot be followed to its end, pages returns an
// error, so that callers do not mistake it for a shorter list.
func (r *repository) pages(ctx context.Context, q request, read func(*http.Response, *registry.Charge) error) error {
	visited := map[[sha256.Size]byte]bool{} // hashed, because the URLs may be long
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

// withPageCount adds the number of pages read to the error of an operation that exceeded
// its deadline. A registry that responds to every request can still take longer to list all
// pages than the operation may take.
func withPageCount(pages int, err error) error {
	if pages == 0 || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return modifyError(err, func(e *registry.Error) {
		e.Message = joinText(e.Message, fmt.Sprintf("the list has more than the %d pages read so far", pages))
	})
}

// link matches one element of a Link header (RFC 8288, section 3).
var link = regexp.MustCompile(`<([^>]*)>((?:[^,"<]|"[^"]*")*)`)

// nextPage returns the URL of the next page from Link headers, or nil if they name none. It
// returns an error if the headers cannot be parsed, because they may name a next page.
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

// linkParameter matches one parameter of a link and its value.
var linkParameter = regexp.MustCompile(`^\s*;\s*([^\s;="]+)\s*(?:=\s*(?:"([^"]*)"|([^\s;"]*)))?\s*`)

// relationsOf returns the relation types in the first rel parameter of a link, in lower
// case. It returns nil if the parameters cannot be parsed.
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
