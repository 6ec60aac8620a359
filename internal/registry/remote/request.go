package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// LevelTrace is the level at which each HTTP request is logged: below debug,
// which tells one line a blob and manifest.
const LevelTrace = slog.LevelDebug - 4

// maxRefreshes is how often a request that was answered 401 is tried again with
// a new token.
const maxRefreshes = 2

// commitPatience is how much longer than for other answers is waited for the
// one to a blob: a registry may move it to its place first.
const commitPatience = 10

// request is one request to a registry, as it is wanted; how often it is sent
// is up to retry and attempt.
type request struct {
	op     string // for errors, a verb phrase
	about  string // for errors, the tag or digest
	method string
	url    *url.URL
	header http.Header
	body   []byte // sent again with each attempt

	content io.ReadCloser // instead of body: sent once, closed in any case
	size    int64

	scopes []auth.Scope
	class  class
	slot   *slot // one that the caller holds; nil: each attempt takes its own
	ok     []int // statuses that are an answer and not a failure
}

// do sends a request until it is answered, and gives the answer to read, whose
// error counts as the attempt's. The body is closed after it.
func (r *repository) do(ctx context.Context, q request, read func(*http.Response) error) error {
	return r.client.retry(ctx, func(attempt int) error {
		resp, err := r.attempt(ctx, q, attempt > 1)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if read == nil {
			return nil
		}
		return r.broken(q, read(resp))
	})
}

// broken names the request in an error of reading its answer.
func (r *repository) broken(q request, err error) error {
	if err == nil {
		return nil
	}
	var e *registry.Error
	if !errors.As(err, &e) {
		e = connectionError(err)
	}
	return r.fill(q, e)
}

// fill completes an error with what the request was about.
func (r *repository) fill(q request, e *registry.Error) *registry.Error {
	filled := *e
	if filled.Repository == "" {
		filled.Op, filled.Repository, filled.Reference = q.op, r.Name(), q.about
	}
	return &filled
}

// attempt sends a request once, and again where the registry wants it proved
// who asks. The answer has one of the statuses in q.ok; its body must be
// closed. This is the one place where a request gets its credential.
func (r *repository) attempt(ctx context.Context, q request, again bool) (*http.Response, error) {
	for refreshes := 0; ; refreshes++ {
		authorization, err := r.authorization(ctx, q)
		if err != nil {
			if q.content != nil {
				q.content.Close()
			}
			return nil, r.broken(q, err)
		}
		resp, err := r.follow(ctx, q, authorization, again || refreshes > 0)
		if err != nil {
			return nil, r.broken(q, err)
		}
		if slices.Contains(q.ok, resp.StatusCode) {
			return resp, nil
		}
		refusal := r.answerError(ctx, q, resp)
		if resp.StatusCode != http.StatusUnauthorized || !sameOrigin(resp.Request.URL, r.host.origin) {
			return nil, refusal
		}
		if err := r.challenged(ctx, q, resp.Header, authorization, refusal); err != nil {
			return nil, err
		}
		if refreshes == maxRefreshes {
			return nil, refusal
		}
		if q.content != nil {
			// What was sent cannot be sent again here; with the new token the
			// caller's next attempt succeeds.
			refusal.Kind = registry.ErrUnavailable
			return nil, refusal
		}
	}
}

// authorization is what proves who asks, "" while the host has not asked for
// it: it is never sent unasked.
func (r *repository) authorization(ctx context.Context, q request) (string, error) {
	if !r.host.challenged.Load() {
		return "", nil
	}
	credential, err := r.credential(ctx)
	if err != nil {
		return "", err
	}
	return r.host.auth.Authorize(ctx, credential, q.scopes...)
}

// challenged learns from a 401. It returns nil where asking again is worth it.
func (r *repository) challenged(ctx context.Context, q request, header http.Header, used string, refusal *registry.Error) error {
	r.host.challenged.Store(true)
	credential, err := r.credential(ctx)
	if err != nil {
		return r.broken(q, err)
	}
	refusal.Hint = unauthorizedHint(credential)
	err = r.host.auth.Challenged(header, used, credential, q.scopes...)
	if errors.Is(err, registry.ErrUnauthorized) {
		return refusal
	}
	return r.broken(q, err)
}

// follow sends a request and goes where the registry redirects it to. Once it
// has left the registry's origin it has no credential any more, also when it
// comes back (a hop may be made by the very host that must not have it).
func (r *repository) follow(ctx context.Context, q request, authorization string, again bool) (*http.Response, error) {
	u := q.url
	if !sameOrigin(u, r.host.origin) {
		authorization = ""
	}
	for range maxHops + 1 {
		resp, err := r.exchange(ctx, q, u, authorization, again)
		if err != nil || !redirects(q.method, resp.StatusCode) {
			return resp, err
		}
		location := resp.Header.Get("Location")
		resp.Body.Close()
		if u, err = target(u, location); err != nil {
			return nil, err
		}
		if !sameOrigin(u, r.host.origin) {
			authorization = ""
		}
	}
	return nil, &registry.Error{Kind: registry.ErrProtocol, Message: "it redirects without end"}
}

// redirects says whether an answer sends its request elsewhere. What writes is
// never sent elsewhere: the registry names the place by Location beforehand.
func redirects(method string, status int) bool {
	if method != http.MethodGet && method != http.MethodHead {
		return false
	}
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// exchange is one HTTP request and its answer, under the host's limits and
// watched for progress.
func (r *repository) exchange(ctx context.Context, q request, u *url.URL, authorization string, again bool) (*http.Response, error) {
	c := r.client
	held, release, err := r.enter(ctx, q)
	if err != nil {
		if q.content != nil {
			q.content.Close()
		}
		return nil, err
	}
	ctx, watch := newWatchdog(ctx, c.options.HeaderTimeout)
	req, sent := r.build(ctx, q, u, authorization, watch)
	registry.TraceOf(ctx).Request(registry.Request{Host: u.Host, Method: q.method, Retry: again})
	began := time.Now()
	resp, err := c.roundTrip(req, r.host)
	if err != nil {
		cause := context.Cause(ctx)
		watch.end()
		release()
		c.options.Logger.Log(ctx, LevelTrace, "request failed", "method", q.method, "url", registry.CleanURL(u), "error", registry.Clean(err.Error()))
		if sent != nil && sent.failed() != nil {
			return nil, sent.failed()
		}
		if cause != nil {
			return nil, cause
		}
		return nil, err
	}
	watch.pause()
	c.options.Logger.Log(ctx, LevelTrace, "request", "method", q.method, "url", registry.CleanURL(u), "status", resp.StatusCode, "took", time.Since(began))
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		held.throttled()
	case resp.StatusCode < 500:
		held.succeeded()
	}
	resp.Body = &answerBody{ReadCloser: resp.Body, ctx: ctx, watch: watch, stall: c.options.StallTimeout, drain: q.slot == nil, close: release}
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" && q.method != http.MethodHead {
		resp.Body.Close()
		return nil, &registry.Error{Status: resp.StatusCode, Kind: registry.ErrProtocol,
			Message: "the answer is packed with Content-Encoding " + registry.Clean(encoding) + " although it was asked for as it is; something in between changes content"}
	}
	r.notices(ctx, resp.Header)
	return resp, nil
}

// enter waits for the host's limits. release gives the slot back, unless it is
// the caller's own.
func (r *repository) enter(ctx context.Context, q request) (held *slot, release func(), err error) {
	if held = q.slot; held == nil {
		if held, err = r.host.limiter.acquire(ctx, q.class); err != nil {
			return nil, nil, err
		}
		release = held.release
	} else {
		release = func() {}
	}
	if err := r.host.limiter.pace(ctx); err != nil {
		release()
		return nil, nil, err
	}
	return held, release, nil
}

// build makes the HTTP request. Its headers are these and no others, wherever
// it goes.
func (r *repository) build(ctx context.Context, q request, u *url.URL, authorization string, watch *watchdog) (*http.Request, *requestBody) {
	c := r.client
	req := (&http.Request{Method: q.method, URL: u, Host: u.Host, Header: q.header.Clone(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("User-Agent", c.options.UserAgent)
	req.Header.Set("Accept-Encoding", "identity")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	if q.content != nil {
		sent := &requestBody{content: q.content, watch: watch, stall: c.options.StallTimeout, commit: commitPatience * c.options.HeaderTimeout}
		req.Body, req.ContentLength = sent, q.size
		if q.size == 0 {
			req.Body = http.NoBody
			q.content.Close()
		}
		return req, sent
	}
	if len(q.body) > 0 {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(q.body)), int64(len(q.body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(q.body)), nil }
	}
	return req, nil
}

// roundTrip sends a request of a host: over the host's own connections where it
// stays at its origin, over those of another host where the settings name that
// one, and over guarded ones everywhere else.
func (c *Client) roundTrip(req *http.Request, h *host) (*http.Response, error) {
	if sameOrigin(req.URL, h.origin) {
		return h.transport.RoundTrip(req)
	}
	if _, named := c.settings[req.URL.Host]; named {
		if other := c.hostOf(req.URL.Host); other.origin.Scheme == req.URL.Scheme {
			return other.transport.RoundTrip(req)
		}
	}
	return c.hops.roundTrip(req, h.reach())
}

// sendToken sends a request for a token on behalf of a host. It goes where it
// is sent and follows nothing.
func (c *Client) sendToken(h *host, req *http.Request) (*http.Response, error) {
	ctx, watch := newWatchdog(req.Context(), c.options.HeaderTimeout)
	release := func() {}
	if sameOrigin(req.URL, h.origin) {
		held, err := h.limiter.acquire(ctx, exchange)
		if err != nil {
			watch.end()
			return nil, err
		}
		release = held.release
	}
	registry.TraceOf(ctx).Request(registry.Request{Host: req.URL.Host, Method: req.Method})
	resp, err := c.roundTrip(req.WithContext(ctx), h)
	if err != nil {
		cause := context.Cause(ctx)
		watch.end()
		release()
		if cause != nil {
			err = cause
		}
		var e *registry.Error
		if !errors.As(err, &e) {
			e = connectionError(err)
		}
		return nil, e
	}
	watch.pause()
	resp.Body = &answerBody{ReadCloser: resp.Body, ctx: ctx, watch: watch, stall: c.options.StallTimeout, close: release}
	return resp, nil
}
