package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// maxTags bounds the number of tags of a repository.
const maxTags = 100_000

// ListTags returns the tags of all pages (OCI distribution specification, "Listing Tags").
// It returns either the complete list or an error, because callers use the list to decide
// which manifests to delete.
func (r *repository) ListTags(ctx context.Context) ([]string, error) {
	first := r.url("tags/list")
	first.RawQuery = "n=1000"
	q := request{op: "list the tags", object: "tags", method: http.MethodGet, url: first, scopes: r.scopes(), ok: []int{http.StatusOK}}
	var tags []string
	var budget listBudget
	known := map[string]bool{}
	err := r.pages(ctx, q, func(resp *http.Response, _ *registry.Charge) error {
		body, err := registry.ReadLimited(resp.Body, maxPageBytes)
		if err != nil {
			return err
		}
		var page *struct {
			Tags json.RawMessage `json:"tags"`
		}
		var list []string
		// "tags" is null if there are none, but it is always present.
		if json.Unmarshal(body, &page) != nil || page == nil || json.Unmarshal(page.Tags, &list) != nil {
			return &registry.Error{Kind: registry.ErrProtocol, Hint: notARegistryHint,
				Message: fmt.Sprintf("the answer, of Content-Type %q, is no list of tags", registry.Sanitize(resp.Header.Get("Content-Type")))}
		}
		before := len(tags)
		if tags, err = appendTags(tags, list, known); err != nil {
			return err
		}
		return budget.spend(len(body), len(tags) > before)
	})
	if err != nil {
		return nil, err
	}
	return tags, nil
}

// appendTags appends the tags of a page that are not known from an earlier page. It returns
// an error for text that is not a tag, which also bounds the memory of a list.
func appendTags(tags, more []string, known map[string]bool) ([]string, error) {
	for _, tag := range more {
		if !tagGrammar.MatchString(tag) {
			return nil, &registry.Error{Kind: registry.ErrProtocol, Message: fmt.Sprintf("the list has %q in it, which is no tag", registry.Sanitize(tag))}
		}
		if !known[tag] {
			known[tag] = true
			tags = append(tags, tag)
		}
	}
	if max(len(tags), len(more)) > maxTags {
		return nil, &registry.Error{Kind: registry.ErrLimit, Message: fmt.Sprintf("it has more than %d", maxTags)}
	}
	return tags, nil
}
