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

// ListReferrers asks the referrers API and, where there is none, for the tag
// under which clients keep the list instead (OCI distribution specification,
// "Listing Referrers"). That a repository has none is remembered.
func (r *repository) ListReferrers(ctx context.Context, subject digest.Digest) (registry.ReferrerList, error) {
	if err := registry.ValidateDigest(subject); err != nil {
		return registry.ReferrerList{}, err
	}
	if !r.host.seen.lacksReferrersAPI(r.path) {
		listing, known, err := r.apiReferrers(ctx, subject)
		if known || err != nil {
			return listing, err
		}
	}
	return r.taggedReferrers(ctx, subject)
}

// apiReferrers asks the API, and says whether the repository knows it: some
// answer that there is no such place, and where a gateway answers for them it is
// anything but a list.
func (r *repository) apiReferrers(ctx context.Context, subject digest.Digest) (listing registry.ReferrerList, supported bool, err error) {
	q := request{
		op: listReferrers, object: "referrers", about: subject.String(), method: http.MethodGet,
		url: r.url("referrers/" + subject.String()), scopes: r.scopes(),
		header: http.Header{"Accept": {ocispec.MediaTypeImageIndex}},
		ok:     []int{http.StatusOK},
	}
	var budget listBudget
	notList := false
	err = r.pages(ctx, q, func(resp *http.Response, memory *registry.Charge) (err error) {
		page := registry.Manifest{MediaType: registry.MediaType(resp.Header.Get("Content-Type"))}
		if page.MediaType == ocispec.MediaTypeImageIndex { // anything else is not worth reading
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
		// Only the first answer can say that there is no API: without a further
		// page the list would be a shorter one.
		return registry.ReferrerList{}, false, nil
	}
	return registry.ReferrerList{}, supported, err
}

// unknownPlace says whether a failure is that of a registry without the API, and
// remembers it where it is one of the place, and not of who asks or for what.
func (r *repository) isAPIMissing(err error) bool {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok || !slices.Contains([]int{http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented}, e.Status) {
		return false
	}
	// Some hide with a 404 what one may not see, and one that broke off says
	// nothing.
	if e.Code == "DENIED" || e.Code == "UNAUTHORIZED" || isTransient(err) {
		return false
	}
	if errors.Is(err, registry.ErrProtocol) || errors.Is(err, registry.ErrUnsupported) {
		r.host.seen.recordNoReferrersAPI(r.path)
	}
	return true
}

// taggedReferrers reads the list that clients keep under a tag. It is believed
// only where it is one, and another manifest than the subject: there are
// registries that answer with that (GitLab).
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
		return registry.ReferrerList{}, r.wrapRequest(request{op: listReferrers, about: subject.String()}, err)
	}
	return listing, nil
}
