package remote

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// LevelTrace is the level at which each HTTP request is logged. It is below debug, which
// logs one line per blob and manifest.
const LevelTrace = slog.LevelDebug - 4

// maxRedirects is the maximum number of redirects that one request follows.
const maxRedirects = 10

// follow sends a request and follows redirects. It drops the credential once a redirect has
// left the registry's origin. The credential stays dropped if a later redirect returns,
// because the host that must not have it may have sent that redirect.
func (r *repository) follow(ctx context.Context, q request, held *heldSlot, authorization string, isRetry bool) (*http.Response, error) {
	u, target := q.url, r.host
	for range maxRedirects + 1 {
		if !r.host.isOrigin(u) {
			authorization = ""
		}
		target = r.client.hostAt(u, target)
		if err := held.move(ctx, target.limiter); err != nil {
			return nil, err
		}
		offOrigin := q.slot != nil && !target.isOrigin(u)
		if offOrigin { // the slot waits for another host
			held.transfer.block()
		}
		resp, err := r.exchange(ctx, q, u, held, authorization, isRetry)
		if offOrigin {
			held.transfer.unblock(0)
		}
		if err != nil || !isRedirect(q.method, resp.StatusCode) {
			return resp, err
		}
		location := resp.Header.Get("Location")
		resp.Body.Close()
		if u, err = r.client.target(r.host, u, location); err != nil {
			return nil, err
		}
	}
	return nil, &registry.Error{Kind: registry.ErrProtocol, Message: "it redirects without end"}
}

// isRedirect reports whether the client follows a redirect. It follows redirects of GET and
// HEAD requests only: for uploads, the registry names the URL beforehand in a Location
// header.
func isRedirect(method string, status int) bool {
	if method != http.MethodGet && method != http.MethodHead {
		return false
	}
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// exchange sends one HTTP request and returns its response. It observes the rate limit of
// the host and cancels the request if it makes no progress.
func (r *repository) exchange(ctx context.Context, q request, u *url.URL, held *heldSlot, authorization string, isRetry bool) (*http.Response, error) {
	c := r.client
	if err := held.waitRate(ctx); err != nil {
		return nil, err
	}
	ctx, watch := newWatchdog(withDialScope(cmp.Or(q.graceCtx, ctx), ctx), orDefault(q.responseTimeout, c.options.HeaderTimeout))
	req := r.build(ctx, q, u, authorization, watch)
	done := traceRequest(ctx, registry.Request{Host: r.displayHost(u), Method: q.method, Object: cmp.Or(q.object, "upload"), Retry: isRetry})
	began := time.Now()
	resp, err := c.roundTrip(req, r.host)
	if q.upload != nil {
		q.upload.setWatchdog(nil)
		began = began.Add(q.upload.transfer.waited())
	}
	registry.FlowOf(ctx).Waited(registry.Delay{Host: r.delayHost(u)}, time.Since(began))
	if err != nil {
		err = r.transportError(ctx, q, u, authorization, err)
		watch.end()
		done()
		c.options.Logger.Log(ctx, LevelTrace, "request failed", "method", q.method, "url", r.redactFor(registry.RedactURL(u), u, authorization), "error", registry.Sanitize(r.redactFor(err.Error(), u, authorization)))
		return nil, err
	}
	watch.pause()
	if r.host.isOrigin(u) {
		r.host.answered.Store(true)
	}
	if c.options.Logger.Enabled(ctx, LevelTrace) { // redacting costs more than logging
		c.options.Logger.Log(ctx, LevelTrace, "request", "method", q.method, "url", r.redactFor(registry.RedactURL(u), u, authorization), "status", resp.StatusCode, "took", time.Since(began))
	}
	held.answered(resp.StatusCode)
	// A request for a blob may also result in a redirect or an error, whose
	// connection is worth keeping.
	blob := q.slot != nil && resp.StatusCode < http.StatusMultipleChoices
	resp.Body = &hookedBody{newResponseBody(ctx, resp.Body, watch, c.options.StallTimeout, blob), done}
	if r.host.isOrigin(u) {
		r.handleWarnings(ctx, resp)
	}
	return resp, nil
}

// traceRequest reports to the trace of ctx that a request is sent. The returned function
// reports that the request is over; only its first call has an effect.
func traceRequest(ctx context.Context, q registry.Request) (done func()) {
	trace := registry.TraceOf(ctx)
	trace.Request(q)
	return sync.OnceFunc(func() { trace.Over(q) })
}

// transportError returns the error of a request without a response. An error of the
// content, or the reason why the request was canceled, takes precedence over the error of
// the connection.
func (r *repository) transportError(ctx context.Context, q request, u *url.URL, authorization string, err error) error {
	cause := endCause(ctx)
	if q.upload != nil && q.upload.content.evicted.Load() {
		cause = errEvicted // even if the eviction came as the previous request ended
	} else if q.upload != nil && q.upload.contentErr() != nil {
		return q.upload.contentErr()
	}
	if cause != nil {
		err = cause
	}
	err = registry.WithText(err, r.redactFor(err.Error(), u, authorization))
	if r.host.isOrigin(u) {
		return err
	}
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		e = r.host.connectionError(err, u)
	}
	redirected := *e
	redirected.Message = joinText("at "+r.displayHost(u)+", where the registry pointed to", e.Message)
	return &redirected
}

// build returns the HTTP request for q. The request has the headers set here and no others,
// whatever its destination.
func (r *repository) build(ctx context.Context, q request, u *url.URL, authorization string, watch *watchdog) *http.Request {
	req := (&http.Request{Method: q.method, URL: u, Host: u.Host, Header: q.header.Clone(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("User-Agent", r.client.options.UserAgent)
	req.Header.Set("Accept-Encoding", "identity")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	switch {
	case q.upload != nil && q.upload.length() > 0:
		q.upload.setWatchdog(watch)
		req.Body, req.ContentLength = q.upload, q.upload.length()
	case q.upload != nil:
		req.Body = http.NoBody
	case len(q.body) > 0:
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(q.body)), nil }
		req.Body, _ = req.GetBody()
		req.ContentLength = int64(len(q.body))
	}
	return req
}

// roundTrip sends a request of h. It uses the host's own transport for its origin, and
// redirectTransports for every other origin.
func (c *Client) roundTrip(req *http.Request, h *host) (*http.Response, error) {
	if !h.isOrigin(req.URL) {
		return c.redirects.roundTrip(req, h.scope.addrScope())
	}
	resp, err := h.transport.RoundTrip(req)
	return resp, c.withProxyError(req, err)
}

// sendToken sends a token request on behalf of a host. It does not follow redirects. It
// needs no slot: the request that needs the token has one, which is idle meanwhile.
func (c *Client) sendToken(h *host, req *http.Request) (*http.Response, error) {
	if h.isOrigin(req.URL) {
		if err := h.limiter.waitRate(req.Context()); err != nil {
			return nil, h.connectionError(err, req.URL)
		}
	}
	ctx, watch := newWatchdog(withDialScope(req.Context(), req.Context()), c.options.HeaderTimeout)
	done := traceRequest(ctx, registry.Request{Host: registry.Sanitize(auth.RedactWith(ctx, req.URL.Host)), Method: req.Method, Object: "token"})
	resp, err := c.roundTrip(req.WithContext(ctx), h)
	if err != nil {
		if cause := endCause(ctx); cause != nil {
			err = cause
		}
		watch.end()
		done()
		if e, ok := errors.AsType[*registry.Error](err); ok {
			return nil, e
		}
		return nil, h.connectionError(err, req.URL)
	}
	watch.pause()
	resp.Body = &hookedBody{newResponseBody(ctx, resp.Body, watch, c.options.StallTimeout, false), done}
	return resp, nil
}
