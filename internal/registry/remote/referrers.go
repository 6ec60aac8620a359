package remote

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const listReferrers = "list the referrers of"

// ListReferrers queries the referrers API. If the repository does not support it,
// ListReferrers reads the tag under which clients keep the list instead (OCI distribution
// specification, "Listing Referrers"). The client remembers which repositories do not
// support the API.
func (r *repository) ListReferrers(ctx context.Context, subject digest.Digest) (registry.ReferrerList, error) {
	if err := registry.ValidateDigest(subject); err != nil {
		return registry.ReferrerList{}, err
	}
	if !r.host.capabilities.lacksReferrersAPI(r.path) {
		listing, known, err := r.apiReferrers(ctx, subject)
		if known || err != nil {
			return listing, err
		}
	}
	return r.taggedReferrers(ctx, subject)
}

// apiReferrers queries the referrers API and reports whether the repository supports it. If
// it does not, some registries return an error status, and a gateway may return content
// that is not a list.
func (r *repository) apiReferrers(ctx context.Context, subject digest.Digest) (listing registry.ReferrerList, supported bool, err error) {
	q := request{
		op: listReferrers, object: "referrers", reference: subject.String(), method: http.MethodGet,
		url: r.url("referrers/" + subject.String()), scopes: r.scopes(),
		header: http.Header{"Accept": {ocispec.MediaTypeImageIndex}},
		ok:     []int{http.StatusOK},
	}
	var budget listBudget
	notList := false
	err = r.pages(ctx, q, func(resp *http.Response, memory *registry.Charge) (err error) {
		page := registry.Manifest{MediaType: registry.MediaType(resp.Header.Get("Content-Type"))}
		if page.MediaType == ocispec.MediaTypeImageIndex { // other content is not worth reading
			if page.Content, err = r.readBody(resp, maxPageBytes, memory); err != nil {
				return err
			}
		}
		before := len(listing.Referrers)
		if listing, err = listing.AppendPage(page); err == nil {
			err = budget.spend(len(page.Content), len(listing.Referrers) > before)
		}
		notList, supported = errors.Is(err, registry.ErrProtocol), supported || err == nil
		return err
	})
	switch {
	case err == nil:
		return listing, true, nil
	case !supported && (notList || r.isAPIMissing(err)):
		// Only the first response can show that there is no API. Without a later page the
		// list would be incomplete.
		return registry.ReferrerList{}, false, nil
	}
	return registry.ReferrerList{}, supported, err
}

// isAPIMissing reports whether err shows that the repository has no referrers API. It
// records this if the endpoint is the cause, and not the credentials or the subject.
func (r *repository) isAPIMissing(err error) bool {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok || !slices.Contains([]int{http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented}, e.Status) {
		return false
	}
	// Some registries respond with 404 to unauthorized clients, and a truncated response shows
	// nothing.
	if e.Code == "DENIED" || e.Code == "UNAUTHORIZED" || isTransient(err) {
		return false
	}
	if errors.Is(err, registry.ErrProtocol) || errors.Is(err, registry.ErrUnsupported) {
		r.host.capabilities.recordNoReferrersAPI(r.path)
	}
	return true
}

// taggedReferrers reads the list that clients keep under a tag. It ignores a manifest that
// is not a list. It also ignores the subject itself, which some registries return (GitLab).
func (r *repository) taggedReferrers(ctx context.Context, subject digest.Digest) (registry.ReferrerList, error) {
	tag := registry.ReferrersTag(subject)
	m, err := r.GetManifest(ctx, tag)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return registry.ReferrerList{Tag: tag}, nil
	case err != nil:
		return registry.ReferrerList{}, err
	case subject.Algorithm().FromBytes(m.Content) == subject:
		return registry.ReferrerList{Tag: tag}, nil
	}
	listing, err := registry.ReferrerList{Tag: tag, Held: m}.AppendPage(m)
	if err != nil && !errors.Is(err, registry.ErrProtocol) {
		return registry.ReferrerList{}, r.wrapRequest(request{op: listReferrers, reference: subject.String()}, err)
	}
	return listing, nil
}
