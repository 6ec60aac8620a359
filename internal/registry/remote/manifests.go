package remote

import (
	"context"
	"errors"
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Resolve asks by HEAD, which Docker Hub does not count as a pull, and by GET
// where HEAD is refused or says no digest (OCI distribution specification,
// "Checking if content exists in the registry").
func (r *repository) Resolve(ctx context.Context, reference string) (registry.Descriptor, error) {
	if err := checkReference(reference); err != nil {
		return registry.Descriptor{}, err
	}
	var d registry.Descriptor
	err := r.do(ctx, r.manifestRequest("look up", http.MethodHead, reference), func(resp *http.Response) error {
		d = registry.Descriptor{
			MediaType: registry.MediaType(resp.Header.Get("Content-Type")),
			Digest:    digest.Digest(resp.Header.Get("Docker-Content-Digest")),
			Size:      resp.ContentLength,
		}
		return nil
	})
	unanswered := errors.Is(err, registry.ErrDenied) || errors.Is(err, registry.ErrUnsupported)
	if err != nil && !unanswered {
		return registry.Descriptor{}, err
	}
	if err == nil && registry.ValidateDigest(d.Digest) == nil {
		if wanted := digest.Digest(reference); algorithm(reference) != "" {
			d.Digest = wanted // a registry may know it by another algorithm too
		}
		return d, nil
	}
	m, err := r.GetManifest(ctx, reference)
	return m.Descriptor(), err
}

// GetManifest fetches a manifest and hashes what came.
func (r *repository) GetManifest(ctx context.Context, reference string) (registry.Manifest, error) {
	if err := checkReference(reference); err != nil {
		return registry.Manifest{}, err
	}
	var m registry.Manifest
	err := r.do(ctx, r.manifestRequest("read the manifest", http.MethodGet, reference), func(resp *http.Response) error {
		limit := r.client.options.MaxManifestBytes
		if resp.ContentLength > limit {
			return tooLarge(limit)
		}
		content, err := readCapped(resp.Body, limit)
		if errors.Is(err, registry.ErrLimit) {
			return tooLarge(limit)
		}
		if err != nil {
			return err
		}
		wanted := algorithm(reference)
		if m, err = registry.NewManifest(resp.Header.Get("Content-Type"), content, wanted); err != nil {
			return err
		}
		if wanted != "" && m.Digest != digest.Digest(reference) {
			return &registry.Error{Kind: registry.ErrMismatch, Message: "its bytes have the digest " + m.Digest.String(),
				Hint: "What the registry holds under this digest is damaged, or something between it and this machine changes what passes."}
		}
		if said := digest.Digest(resp.Header.Get("Docker-Content-Digest")); wanted == "" && said != "" && !registry.SameDigest(said, m.Digest) {
			r.client.warn(ctx, "%s says that %s has the digest %s, but its bytes have %s; the latter is used", r.Name(), reference, said, m.Digest)
		}
		return nil
	})
	if err != nil {
		return registry.Manifest{}, err
	}
	return m, nil
}

func tooLarge(limit int64) error {
	return &registry.Error{Kind: registry.ErrLimit, Message: "the manifest is larger than the " + bytesText(limit) + " that are read",
		Hint: "No image needs a manifest of this size. If it is right, put it aside and look at what made it."}
}

// PutManifest puts the bytes under the media type that they came with (OCI
// distribution specification, "Pushing Manifests").
func (r *repository) PutManifest(ctx context.Context, reference string, m registry.Manifest) error {
	if err := checkReference(reference); err != nil {
		return err
	}
	q := request{
		op: "push the manifest", about: reference, method: http.MethodPut,
		url:    r.url("manifests/" + reference),
		header: http.Header{"Content-Type": {m.MediaType}},
		body:   m.Content, scopes: r.scopes(),
		ok: []int{http.StatusCreated, http.StatusOK, http.StatusAccepted, http.StatusNoContent},
	}
	err := r.do(ctx, q, func(resp *http.Response) error {
		if said := digest.Digest(resp.Header.Get("Docker-Content-Digest")); said != "" && !registry.SameDigest(said, m.Digest) {
			return &registry.Error{Status: resp.StatusCode, Kind: registry.ErrMismatch,
				Message: "the registry says that it stored " + registry.Clean(said.String()) + " instead of " + m.Digest.String(),
				Hint:    "The registry changed the manifest. Look whether it converts images, and switch that off."}
		}
		return nil
	})
	var e *registry.Error
	if registry.IsSchema1(m.MediaType) && errors.As(err, &e) && e.Status >= 400 && e.Status < 500 && errors.Is(e.Kind, registry.ErrInvalidManifest) {
		told := *e
		told.Hint = "The image has Docker's first manifest format (schema 1), which this registry no longer accepts. Build or push the image again with a current tool, so that it becomes an OCI or schema 2 image, and promote that."
		return &told
	}
	return err
}

// DeleteTag deletes by tag (OCI distribution specification, "Deleting tags").
func (r *repository) DeleteTag(ctx context.Context, tag string) error {
	return r.delete(ctx, "delete the tag", tag)
}

// DeleteManifest deletes by digest (OCI distribution specification, "Deleting
// Manifests").
func (r *repository) DeleteManifest(ctx context.Context, d digest.Digest) error {
	return r.delete(ctx, "delete the manifest", d.String())
}

func (r *repository) delete(ctx context.Context, op, reference string) error {
	if err := checkReference(reference); err != nil {
		return err
	}
	q := request{
		op: op, about: reference, method: http.MethodDelete,
		url:    r.url("manifests/" + reference),
		scopes: r.deleteScopes(),
		ok:     []int{http.StatusAccepted, http.StatusOK, http.StatusNoContent},
	}
	err := r.do(ctx, q, nil)
	var e *registry.Error
	// 2.8.3 takes a tag for a digest that is not well formed.
	if errors.As(err, &e) && op == "delete the tag" && e.Status == http.StatusBadRequest && errors.Is(e.Kind, registry.ErrMismatch) {
		told := *e
		told.Kind = registry.ErrUnsupported
		return &told
	}
	return err
}
