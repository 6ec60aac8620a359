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

// maxRefreshes is how often a request that was answered 401 is tried again with
// a new token.
const maxRefreshes = 2

// request is one request to a registry, as it is wanted; how often it is sent
// is up to retry and attempt.
type request struct {
	op              string // for errors, a verb phrase
	object          string // for traces; "" is an upload
	about           string // for errors, the tag or digest
	method          string
	url             *url.URL
	header          http.Header
	body            []byte        // sent again with each attempt
	upload          *uploadBody   // instead of body: sent once, closed by whoever made it
	scopes          []auth.Scope  // what a token must allow
	slot            *heldSlot     // one that the caller holds; nil: each attempt takes its own
	responseTimeout time.Duration // for the answer; 0: as long as for any other
	// late lasts longer than the operation, where an answer opens what somebody has
	// to close; nil: a request ends with its operation.
	graceCtx context.Context //nolint:containedctx // it goes beside the operation's own
	ok       []int           // statuses that are an answer and not a failure
}

// acquire waits for a slot of the request's own. The context that it returns ends
// when the slot is released, or given to another flow.
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
		_ = content.Close() // net/http waits for a read of it
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

// do sends a request until it is answered, and gives the answer to read, whose
// error counts as the attempt's. The body is closed after it.
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

// answeredBy is the request as it was answered, elsewhere maybe: who did that can
// repeat what is in the URL there.
func (q request) withFinalURL(resp *http.Response) request {
	q.url = resp.Request.URL
	return q
}

// wrapRequest names the request in an error of sending it or of reading its answer.
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
		// An error that says itself what failed, such as reading credentials,
		// knows better than the request that needed it.
		if filled.Op == "" || !errors.Is(err, registry.ErrCredentials) {
			filled.Op, filled.Reference = q.op, q.about
		}
	}
	return registry.WithDefaultHint(registry.RedactError(&filled, func(text string) string { return r.redactFor(text, q.url, "") }))
}

// attempt sends a request once, and again where the registry wants it proved
// who asks. The answer has one of the statuses in q.ok; its body must be
// closed. This is the one place where a request gets its credential.
//
// All of it happens in one slot of the host's limits, the token's request
// included: a request that waits for a token leaves its slot to it, so that
// tokens never wait behind transfers that may themselves need one.
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

// misread adds to what Docker Hub refuses how its name was read, where that can
// be none of Docker Hub's: "registry/acme/app" was meant to begin with a host.
func (r *repository) addDockerHubHint(q request, err error) error {
	first, rest, _ := strings.Cut(r.path, "/")
	if r.host.name != registry.DockerHub || !strings.Contains(rest, "/") || q.upload != nil {
		return err
	}
	return modifyError(err, func(e *registry.Error) {
		if e.Hint != "" { // nobody ended it
			e.Hint += fmt.Sprintf(" %q was read as a repository on Docker Hub, where names have two parts. If %s is a registry, write it with its domain or port, as in %s:5000/%s.", r.path, first, first, rest)
		}
	})
}

// authenticated sends a request until the registry is satisfied with who asks.
func (r *repository) sendAuthenticated(ctx context.Context, q request, held *heldSlot, isRetry bool) (*http.Response, error) {
	var preemptive auth.Authorization // sent although the host sent no challenge
	notFoundChecked := false
	for refreshes := 0; ; refreshes++ {
		// The first 401 only asks who it is. One to a credential is a failure,
		// and what follows repeats it.
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
			r.host.evidence.note(resp)
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
			return nil, r.answerError(ctx, q, resp, authorization.Header.Reveal())
		}
		if err := r.handleChallenge(ctx, q, resp, authorization, refreshes == maxRefreshes); err != nil {
			return nil, err
		}
		isRetry = isRetry || authorization.Header != ""
	}
}

// accepted records that the host accepted credentials without a challenge. They are
// sent with every request from then on.
func (r *repository) recordAccepted(used, preemptive auth.Authorization) {
	if used.Header != "" && used == preemptive {
		r.host.auth.AssumeBasic()
		r.host.challenged.Store(true)
	}
}

// unpacked refuses an answer that was packed for the way although it was asked
// for as it is: its bytes are not those that a digest is of.
func (r *repository) checkEncoding(q request, resp *http.Response) (*http.Response, error) {
	encoding := resp.Header.Get("Content-Encoding")
	if encoding == "" || encoding == "identity" || q.method == http.MethodHead {
		return resp, nil
	}
	resp.Body.Close()
	return nil, r.wrapRequest(q.withFinalURL(resp), &registry.Error{Status: resp.StatusCode, Kind: registry.ErrProtocol,
		Message: "the answer is packed with Content-Encoding " + registry.Sanitize(encoding) + " although it was asked for as it is; something in between changes content"})
}

// retryNotFound reports whether a request that was answered 404 has to be sent again
// before the 404 counts. Registries hide private repositories from anonymous requests
// with a 404, so such a request is repeated if there are credentials: as the challenge
// of the registry asks for, or with the returned authorization if the registry sends
// no challenge. It also looks for evidence that the host is a registry if the error
// code is one that gateways use too.
//
// A HEAD is not repeated. Its 404 is a hint that a GET confirms, and copies to new tags
// get many.
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

// prepareCredential prepares the repetition of a request that was sent without
// credentials. unreadable is why the credentials could not be read. It is returned only if
// the registry asks for credentials.
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

// renewed is a 401 to content that cannot be sent twice. There is a new token
// by now: whoever can open the content again may try with it.
type renewedError struct{ refusal *registry.Error }

func (e renewedError) Error() string { return e.refusal.Error() }

// Unwrap lets the refusal be found.
func (e renewedError) Unwrap() error { return e.refusal }

// authorization is what proves who asks, nothing while the host has not asked for
// it. Only a request that was answered 404 is repeated with it preemptively; see
// retryNotFound.
func (r *repository) authorization(ctx context.Context, q request) (auth.Authorization, error) {
	if !r.host.challenged.Load() {
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

// challenged learns from a 401, whose body it closes. It returns nil where asking
// again is worth it, and this was not the last time; nobody reads then what the
// registry says of it.
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
	refusal := r.answerError(ctx, q, resp, used.Header.Reveal())
	if refusal.Hint = credential.Advice(r.host.name); err != nil {
		refusal.Hint = refused.Hint
	}
	if err == nil && q.upload != nil {
		return renewedError{refusal}
	}
	return refusal
}
