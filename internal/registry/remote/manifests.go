package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Resolve sends a HEAD request, which Docker Hub does not count as a pull (OCI distribution
// specification, "Checking if content exists in the registry"). It sends a GET request if
// HEAD is denied or unsupported, if its 404 may be due to missing credentials, or if its
// response has no usable digest. If HEAD fails otherwise, one GET request obtains the
// registry's error message, because the response to a HEAD has no body.
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
		return r.checkEchoedSecret(resp)
	})
	inconclusive := errors.Is(err, registry.ErrDenied) || errors.Is(err, registry.ErrUnsupported) || r.mayBeHidden(ctx, err)
	if err != nil && !inconclusive {
		return r.explainHead(ctx, reference, err)
	}
	if err == nil && registry.ValidateDigest(d.Digest) == nil {
		requested := digest.Digest(reference)
		if algorithm(reference) == "" {
			return d, nil
		}
		if registry.SameDigest(requested, d.Digest) {
			d.Digest = requested // the registry may report it with another algorithm
			return d, nil
		}
	}
	m, getErr := r.GetManifest(ctx, reference)
	if errors.Is(getErr, registry.ErrNotFound) && !errors.Is(err, registry.ErrUnsupported) {
		return registry.Descriptor{}, cmp.Or(err, registry.ErrInconsistentHead(r.Name(), reference))
	}
	return m.Descriptor(), getErr
}

// mayBeHidden reports whether a 404 to an anonymous HEAD request may hide an existing
// manifest because credentials are configured but were not sent. A GET request finds out.
// It returns false for a destination, where most tags do not exist yet.
func (r *repository) mayBeHidden(ctx context.Context, err error) bool {
	if !errors.Is(err, registry.ErrNotFound) || r.access != Pull || r.host.challenged.Load() {
		return false
	}
	credential, lookupErr := r.credential(ctx)
	return lookupErr == nil && !credential.Anonymous()
}

// explainHead repeats a failed HEAD request once as a GET request to obtain the registry's
// error message. It does not repeat a 404, which needs no explanation, or an error that
// already has a message.
func (r *repository) explainHead(ctx context.Context, reference string, err error) (registry.Descriptor, error) {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok || e.Status == 0 || e.Message != "" || errors.Is(err, registry.ErrNotFound) {
		return registry.Descriptor{}, err
	}
	m, getErr := r.getManifest(ctx, reference, func(ctx context.Context, q request, read func(*http.Response) error) error {
		return r.try(ctx, q, true, read)
	})
	if getErr == nil {
		return m.Descriptor(), nil
	}
	if getFailure, ok := errors.AsType[*registry.Error](getErr); ok && getFailure.Status == e.Status {
		err = getErr
	}
	return registry.Descriptor{}, err
}

// GetManifest fetches a manifest and verifies its digest.
func (r *repository) GetManifest(ctx context.Context, reference string) (registry.Manifest, error) {
	if err := checkReference(reference); err != nil {
		return registry.Manifest{}, err
	}
	return r.getManifest(ctx, reference, r.do)
}

// getManifest fetches a manifest with send, which is either do or a single try.
func (r *repository) getManifest(ctx context.Context, reference string, send func(context.Context, request, func(*http.Response) error) error) (registry.Manifest, error) {
	var m registry.Manifest
	q := r.manifestRequest("read the manifest", http.MethodGet, reference)
	err := r.withMemory(ctx, q, func(memory *registry.Charge) error {
		return send(ctx, q, func(resp *http.Response) (err error) {
			m, err = r.receiveManifest(ctx, resp, reference, memory)
			return err
		})
	})
	if err != nil {
		return registry.Manifest{}, err
	}
	return m, nil
}

// receiveManifest reads a manifest from a response and verifies it.
func (r *repository) receiveManifest(ctx context.Context, resp *http.Response, reference string, memory *registry.Charge) (m registry.Manifest, err error) {
	limit := r.client.options.MaxManifestBytes
	if resp.ContentLength > limit {
		return registry.Manifest{}, manifestTooLarge(limit)
	}
	content, err := r.readBody(resp, limit, memory)
	if errors.Is(err, registry.ErrLimit) {
		return registry.Manifest{}, manifestTooLarge(limit)
	}
	if err != nil {
		return registry.Manifest{}, err
	}
	if err := r.checkEchoedSecret(resp); err != nil {
		return registry.Manifest{}, err
	}
	alg := algorithm(reference)
	m, err = registry.NewManifest(resp.Header.Get("Content-Type"), content, alg)
	if err != nil {
		return m, err
	}
	if alg != "" && m.Digest != digest.Digest(reference) {
		return m, &registry.Error{Kind: registry.ErrMismatch, Message: "its bytes have the digest " + m.Digest.String(),
			Hint: "What the registry holds under this digest is damaged, or something between it and this machine changes what passes."}
	}
	if reported := digest.Digest(resp.Header.Get("Docker-Content-Digest")); alg == "" && reported != "" && !registry.SameDigest(reported, m.Digest) {
		r.emitWarning(ctx, resp, "digest "+r.Name()+" "+m.Digest.String(), "%s says that %s has the digest %s, but its bytes have %s; the latter is used", r.Name(), reference, reported, m.Digest)
	}
	return m, nil
}

// minRedacted is how many bytes redaction must remove from a digest to show that it
// contains a secret. Short passwords of hexadecimal digits occur in some digests by chance,
// and "sha256" occurs in most.
const minRedacted = 12

// checkEchoedSecret returns an error if the media type of a response, or the digest of a
// HEAD response, contains a secret that the client sent. Both are kept as received, also in
// plans and state. Manifest media types are exempt, because they are public.
func (r *repository) checkEchoedSecret(resp *http.Response) error {
	mediaType, reported := resp.Header.Get("Content-Type"), resp.Header.Get("Docker-Content-Digest")
	field := ""
	switch {
	case !registry.IsManifest(registry.MediaType(mediaType)) && r.redactFor(mediaType, resp.Request.URL, "") != mediaType:
		field = "media type"
	case resp.Request.Method == http.MethodHead && len(reported)-len(r.Redact(reported)) >= minRedacted:
		field = "digest"
	default:
		return nil
	}
	return &registry.Error{Kind: registry.ErrProtocol, Message: "the " + field + " that it gives has a secret in it, and would be kept",
		Hint: "Whoever answers gives credentials away. Tell those who run the registry, and use another password or token from now on."}
}

func manifestTooLarge(limit int64) error {
	return &registry.Error{Kind: registry.ErrLimit, Message: "the manifest is larger than the " + formatBytes(limit) + " that are read",
		Hint: "No image needs a manifest of this size. If it is right, put it aside and look at what made it."}
}

// formatBytes returns a readable number of bytes.
func formatBytes(n int64) string {
	if n >= 1<<20 && n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

// PutManifest pushes m with the media type that it was received with (OCI distribution
// specification, "Pushing Manifests"). If an attempt got no response, it first checks
// whether that attempt succeeded.
func (r *repository) PutManifest(ctx context.Context, reference string, m registry.Manifest) error {
	if err := checkReference(reference); err != nil {
		return err
	}
	q := request{
		op: "push the manifest", object: "manifest", reference: reference, method: http.MethodPut,
		url:    r.url("manifests/" + reference),
		header: http.Header{"Content-Type": {m.MediaType}},
		body:   m.Content, scopes: r.scopes(),
		ok: []int{http.StatusCreated, http.StatusOK, http.StatusAccepted, http.StatusNoContent},
	}
	var failed error
	maybeDone, sent := false, atomic.Bool{}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { sent.Store(true) }})
	err := r.client.retry(ctx, func(attempt int) error {
		if e, ok := errors.AsType[*registry.Error](failed); ok && (e.Status == 0 && sent.Load() || e.Status >= 500) {
			maybeDone = true
		}
		if gotNoResponse(failed) && r.hasDigest(ctx, reference, m.Digest) {
			return nil
		}
		sent.Store(false)
		failed = r.try(ctx, q, attempt > 1, func(resp *http.Response) error {
			if reported := digest.Digest(resp.Header.Get("Docker-Content-Digest")); reported != "" && !registry.SameDigest(reported, m.Digest) {
				return &registry.Error{Status: resp.StatusCode, Kind: registry.ErrMismatch,
					Message: "the registry says that it stored " + registry.Sanitize(reported.String()) + " instead of " + m.Digest.String(),
					Hint:    "The registry changed the manifest. Look whether it converts images, and switch that off."}
			}
			return nil
		})
		return failed
	})
	if maybeDone {
		err = modifyError(err, func(e *registry.Error) { e.MaybeDone = true })
	}
	if registry.IsSchema1(m.MediaType) && isFormatRejected(err) {
		return modifyError(err, func(e *registry.Error) {
			e.Hint = "The image has Docker's first manifest format (schema 1), which this registry no longer accepts. Build or push the image again with a current tool, so that it becomes an OCI or schema 2 image, and promote that."
		})
	}
	return err
}

// gotNoResponse reports whether the registry did not respond, or a gateway did not wait for
// its response. A registry may accept an immutable tag only once, so that the tag is worth
// a lookup before the next attempt.
func gotNoResponse(err error) bool {
	e, failed := errors.AsType[*registry.Error](err)
	return failed && (e.Status == 0 || e.Status == http.StatusBadGateway || e.Status == http.StatusGatewayTimeout)
}

// hasDigest reports whether a HEAD request confirms that reference has the digest d. It
// returns false on errors.
func (r *repository) hasDigest(ctx context.Context, reference string, d digest.Digest) bool {
	var reported digest.Digest
	err := r.try(ctx, r.manifestRequest("look up", http.MethodHead, reference), false, func(resp *http.Response) error {
		reported = digest.Digest(resp.Header.Get("Docker-Content-Digest"))
		return nil
	})
	return err == nil && reported == d
}

// isFormatRejected reports whether a manifest was rejected because of its format, and not
// because of permissions, missing content or a read-only registry. Docker Registry 2.8.3
// responds with 500 to a format that its configuration does not allow.
func isFormatRejected(err error) bool {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		return false
	}
	switch e.Status {
	case http.StatusMethodNotAllowed:
		return false
	case http.StatusUnsupportedMediaType, http.StatusInternalServerError:
		return true
	}
	return errors.Is(e.Kind, registry.ErrInvalidManifest) || errors.Is(e.Kind, registry.ErrUnsupported)
}

// DeleteTag deletes a tag (OCI distribution specification, "Deleting tags").
func (r *repository) DeleteTag(ctx context.Context, tag string) error {
	return r.delete(ctx, "delete the tag", tag)
}

// DeleteManifest deletes a manifest by digest (OCI distribution specification, "Deleting
// Manifests").
func (r *repository) DeleteManifest(ctx context.Context, d digest.Digest) error {
	return r.delete(ctx, "delete the manifest", d.String())
}

func (r *repository) delete(ctx context.Context, op, reference string) error {
	if err := checkReference(reference); err != nil {
		return err
	}
	q := request{
		op: op, object: "manifest", reference: reference, method: http.MethodDelete,
		url:    r.url("manifests/" + reference),
		scopes: r.deleteScopes(),
		ok:     []int{http.StatusAccepted, http.StatusOK, http.StatusNoContent},
	}
	err := r.do(ctx, q, nil)
	e, ok := errors.AsType[*registry.Error](err)
	// Docker Registry 2.8.3 parses a tag as a malformed digest.
	if ok && algorithm(reference) == "" && e.Status == http.StatusBadRequest && errors.Is(e.Kind, registry.ErrMismatch) {
		return modifyError(err, func(e *registry.Error) {
			e.Kind, e.Hint = registry.ErrUnsupported, "This registry cannot remove a tag without its manifest."
		})
	}
	return err
}
