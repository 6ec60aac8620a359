package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// maxRefreshes is how often a request with the response 401 is repeated with a new token.
const maxRefreshes = 2

// request describes a request to a registry. retry and attempt determine how often it is
// sent.
type request struct {
	op              string // verb phrase, for errors
	object          string // for traces; "" means upload
	reference       string // tag or digest, for errors
	method          string
	url             *url.URL
	header          http.Header
	body            []byte        // sent again with each attempt
	upload          *uploadBody   // instead of body: sent once, closed by its creator
	scopes          []auth.Scope  // required scopes of a token
	slot            *heldSlot     // held by the caller; nil if each attempt acquires its own
	responseTimeout time.Duration // for the response headers; 0 means HeaderTimeout
	// graceCtx outlives the operation. It is used if the response starts an upload session
	// that must be canceled. If nil, the request ends with its operation.
	graceCtx context.Context //nolint:containedctx // used in addition to the operation's context
	ok       []int           // statuses of a successful response
}

// acquire waits for a slot for q. It returns a function that releases the slot. If the body
// comes from another host, the returned context is canceled when the slot is released or
// given to another flow.
func (q request) acquire(ctx context.Context, l *limiter) (context.Context, *heldSlot, func(), error) {
	if q.upload == nil || q.upload.transfer == nil {
		s, err := l.acquire(ctx, exchange, nil)
		if err != nil {
			return ctx, nil, nil, err
		}
		held := hold(s)
		if q.upload == nil {
			return ctx, held, held.release, nil
		}
		sending := q.upload.content.sending
		sending.Start()
		return ctx, held, func() { sending.Stop(); held.release() }, nil
	}
	uploadCtx, cancel := context.WithCancelCause(ctx)
	content := q.upload.content
	q.upload.transfer.evict = func() {
		content.evicted.Store(true)
		cancel(errEvicted)
		_ = content.Close() // net/http waits until a read of it returns
	}
	content.queues.upload.Start()
	s, err := l.acquire(ctx, upload, q.upload.transfer)
	content.queues.upload.Stop()
	if err != nil {
		cancel(nil)
		return ctx, nil, nil, err
	}
	held := hold(s)
	content.sending.Start()
	return uploadCtx, held, func() { content.sending.Stop(); held.release(); cancel(nil) }, nil
}

// do sends a request until it succeeds and calls read with the response. An error of read
// counts as a failed attempt. The body is closed afterwards.
func (r *repository) do(ctx context.Context, q request, read func(*http.Response) error) error {
	return r.client.retry(ctx, func(attempt int) error { return r.try(ctx, q, attempt > 1, read) })
}

// try is one attempt of do.
func (r *repository) try(ctx context.Context, q request, isRetry bool, read func(*http.Response) error) error {
	resp, err := r.attempt(ctx, q, isRetry)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if read == nil {
		return nil
	}
	return r.wrapRequest(q.withFinalURL(resp), read(resp))
}

// withFinalURL returns q with the URL that responded, which differs from q.url after a
// redirect. The server there may echo secrets from that URL, which are then redacted.
func (q request) withFinalURL(resp *http.Response) request {
	q.url = resp.Request.URL
	return q
}

// wrapRequest adds the operation and the repository of q to an error of sending q or
// reading its response.
func (r *repository) wrapRequest(q request, err error) error {
	if err == nil {
		return nil
	}
	if failed, ok := errors.AsType[contentError](err); ok {
		return failed
	}
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		e = r.host.connectionError(err, q.url)
	}
	filled := *e
	if filled.Repository == "" {
		filled.Repository = r.Name()
		// An error with its own operation, such as reading credentials, is more specific
		// than the request that needed it.
		if filled.Op == "" || !errors.Is(err, registry.ErrCredentials) {
			filled.Op, filled.Reference = q.op, q.reference
		}
	}
	return registry.WithDefaultHint(registry.RedactError(&filled, func(text string) string { return r.redactFor(text, q.url, "") }))
}

// attempt sends a request once, and again if the registry requires authentication. The
// response has one of the statuses in q.ok, and the caller must close its body. This is the
// only place that adds credentials to a request.
//
// Everything happens in one slot, including the token request: a request that waits for a
// token leaves its slot to the token request. Tokens therefore never wait behind transfers
// that may need a token themselves.
func (r *repository) attempt(ctx context.Context, q request, isRetry bool) (*http.Response, error) {
	held := q.slot
	release := func() {}
	if held == nil {
		var err error
		if ctx, held, release, err = q.acquire(ctx, r.client.hostAt(q.url, r.host).limiter); err != nil {
			return nil, r.wrapRequest(q, err)
		}
	}
	resp, err := r.sendAuthenticated(ctx, q, held, isRetry)
	if err != nil {
		release()
		return nil, r.addDockerHubHint(q, err)
	}
	resp.Body = &hookedBody{resp.Body, release}
	return resp, nil
}

// addDockerHubHint adds to an error of Docker Hub how the name was parsed, if Docker Hub
// cannot have such a name. The first component of "registry/acme/app" was probably meant as
// a host.
func (r *repository) addDockerHubHint(q request, err error) error {
	first, rest, _ := strings.Cut(r.path, "/")
	if r.host.name != registry.DockerHub || !strings.Contains(rest, "/") || q.upload != nil {
		return err
	}
	return modifyError(err, func(e *registry.Error) {
		if e.Hint != "" { // the operation was not canceled
			e.Hint += fmt.Sprintf(" %q was read as a repository on Docker Hub, where names have two parts. If %s is a registry, write it with its domain or port, as in %s:5000/%s.", r.path, first, first, rest)
		}
	})
}

// sendAuthenticated sends a request until the registry accepts its credentials or it fails.
func (r *repository) sendAuthenticated(ctx context.Context, q request, held *heldSlot, isRetry bool) (*http.Response, error) {
	var preemptive auth.Authorization // sent although the host sent no challenge
	notFoundChecked := false
	for refreshes := 0; ; refreshes++ {
		// The first 401 is only a challenge. A 401 to credentials is a failure, so that the
		// next request is a retry.
		if err := held.move(ctx, r.client.hostAt(q.url, r.host).limiter); err != nil {
			return nil, r.wrapRequest(q, err)
		}
		authorization, err := r.authorization(ctx, q)
		if err != nil {
			return nil, r.wrapRequest(q, err)
		}
		if authorization.Header == "" {
			authorization = preemptive
		}
		resp, err := r.follow(ctx, q, held, authorization.Header.Reveal(), isRetry)
		if err != nil {
			return nil, r.wrapRequest(q, err)
		}
		own := r.host.isOrigin(resp.Request.URL)
		if own {
			r.host.evidence.record(resp)
		}
		if slices.Contains(q.ok, resp.StatusCode) {
			r.recordAccepted(authorization, preemptive)
			return r.checkEncoding(q, resp)
		}
		if own && resp.StatusCode == http.StatusNotFound && !notFoundChecked {
			var repeat bool
			if repeat, preemptive, err = r.retryNotFound(ctx, q, held, resp, authorization); err != nil || repeat {
				resp.Body.Close()
				if err != nil {
					return nil, err
				}
				notFoundChecked = true
				continue
			}
		}
		if resp.StatusCode != http.StatusUnauthorized || !own {
			return nil, r.responseError(ctx, q, resp, authorization.Header.Reveal())
		}
		if err := r.handleChallenge(ctx, q, resp, authorization, refreshes == maxRefreshes); err != nil {
			return nil, err
		}
		isRetry = isRetry || authorization.Header != ""
	}
}

// recordAccepted records that the host accepted credentials without a challenge. All later
// requests carry them.
func (r *repository) recordAccepted(used, preemptive auth.Authorization) {
	if used.Header != "" && used == preemptive {
		r.host.auth.AssumeBasic()
		r.host.challenged.Store(true)
	}
}

// checkEncoding returns an error if the response has a content encoding although the client
// requested identity. Its bytes would not match the digest.
func (r *repository) checkEncoding(q request, resp *http.Response) (*http.Response, error) {
	encoding := resp.Header.Get("Content-Encoding")
	if encoding == "" || encoding == "identity" || q.method == http.MethodHead {
		return resp, nil
	}
	resp.Body.Close()
	return nil, r.wrapRequest(q.withFinalURL(resp), &registry.Error{Status: resp.StatusCode, Kind: registry.ErrProtocol,
		Message: "the answer is packed with Content-Encoding " + registry.Sanitize(r.redactFor(encoding, resp.Request.URL, "")) + " although it was asked for as it is; something in between changes content"})
}

// retryNotFound reports whether a request with the response 404 must be repeated before the
// 404 counts. Registries hide private repositories from anonymous requests with a 404, so
// such a request is repeated if there are credentials. If the registry sends a challenge,
// the repeated request answers it. Otherwise it carries the returned authorization. If the
// error code is one that gateways also use, retryNotFound looks for evidence that the host
// is a registry.
//
// A HEAD request is not repeated. Its 404 is a hint that a GET request confirms, and copies
// to new tags cause many of them.
func (r *repository) retryNotFound(ctx context.Context, q request, held *heldSlot, resp *http.Response, used auth.Authorization) (repeat bool, preemptive auth.Authorization, err error) {
	if q.method == http.MethodHead || q.upload != nil {
		return false, preemptive, nil
	}
	if used.Header == "" {
		if credential, err := r.credential(ctx); err != nil || !credential.Anonymous() {
			bufferBody(resp)
			return r.prepareCredential(ctx, q, held, credential, err)
		}
	}
	if !r.host.evidence.registry.Load() && codeOf(bufferBody(resp)) == harborNotFoundCode {
		r.probeAPI(ctx, held)
	}
	return false, preemptive, nil
}

// prepareCredential prepares the repetition of a request that was sent without credentials.
// unreadable is the error of reading the credentials, or nil. It is ignored if the registry
// needs no credentials.
func (r *repository) prepareCredential(ctx context.Context, q request, held *heldSlot, credential auth.Credential, unreadable error) (repeat bool, preemptive auth.Authorization, err error) {
	r.probeAPI(ctx, held)
	challenge, answered := r.host.evidence.challenge()
	switch {
	case !answered && unreadable != nil:
		return false, preemptive, r.wrapRequest(q, unreadable)
	case !answered:
		return false, preemptive, r.wrapRequest(q, &registry.Error{Status: http.StatusNotFound, Kind: registry.ErrUnavailable,
			Message: "it answered 404 without credentials, and did not answer at /v2/ whether it asks for credentials"})
	case challenge == nil && unreadable != nil:
		return false, preemptive, nil //nolint:nilerr // an open registry needs no credentials
	case challenge == nil:
		preemptive = auth.Preemptive(credential)
		r.recordSent(preemptive.Header.Reveal())
		return preemptive.Header != "", preemptive, nil
	case unreadable != nil:
		return false, preemptive, r.wrapRequest(q, unreadable)
	default:
		r.host.challenged.Store(true)
		if err := r.host.auth.Challenged(challenge, auth.Authorization{}, credential, q.scopes...); err != nil {
			return false, preemptive, r.wrapRequest(q, err)
		}
		return true, preemptive, nil
	}
}

// renewedError reports a 401 to a request whose content cannot be sent twice. There is a
// new token, so the caller may open the content again and retry.
type renewedError struct{ refusal *registry.Error }

func (e renewedError) Error() string { return e.refusal.Error() }

// Unwrap returns the error of the registry.
func (e renewedError) Unwrap() error { return e.refusal }

// authorization returns the Authorization header for q. It is empty until the host has sent
// a challenge or accepted credentials without one; see retryNotFound.
func (r *repository) authorization(ctx context.Context, q request) (auth.Authorization, error) {
	if !r.host.challenged.Load() || !r.host.isOrigin(q.url) {
		return auth.Authorization{}, nil
	}
	credential, err := r.credential(ctx)
	if err != nil {
		return auth.Authorization{}, err
	}
	authorization, err := r.host.auth.Authorize(auth.WithMask(ctx, r.Redact), credential, q.scopes...)
	r.recordSent(authorization.Header.Reveal())
	return authorization, err
}

// handleChallenge processes a 401 response and closes its body. It returns nil if the
// request is worth repeating and last is false. It then ignores the error document of the
// registry.
func (r *repository) handleChallenge(ctx context.Context, q request, resp *http.Response, used auth.Authorization, last bool) error {
	defer resp.Body.Close()
	r.host.challenged.Store(true)
	credential, err := r.credential(ctx)
	if err != nil {
		return r.wrapRequest(q, err)
	}
	err = r.host.auth.Challenged(resp.Header, used, credential, q.scopes...)
	refused, ok := errors.AsType[*registry.Error](err)
	switch {
	case err == nil && q.upload == nil && !last:
		return nil
	case err != nil && (!ok || !errors.Is(refused.Kind, registry.ErrUnauthorized)):
		return r.wrapRequest(q, err)
	}
	refusal := r.responseError(ctx, q, resp, used.Header.Reveal())
	if refusal.Hint = credential.Advice(r.host.name); err != nil {
		refusal.Hint = refused.Hint
	}
	if err == nil && q.upload != nil {
		return renewedError{refusal}
	}
	return refusal
}
