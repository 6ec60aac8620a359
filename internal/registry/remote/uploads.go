package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// uploadMode is how a blob is uploaded. Modes are tried in order, starting with the first
// that the host has not rejected (OCI distribution specification, "Pushing blobs").
type uploadMode int

const (
	// monolithic sends the whole blob in the PUT request that completes the upload. It is
	// the fastest mode, and the only one that the registries of all clouds support well.
	monolithic uploadMode = iota
	// streamed sends the whole blob in one PATCH request, followed by a PUT request without
	// a body. Docker does the same, so that every registry supports it.
	streamed
	// chunked sends each part of the blob in a PATCH request, followed by a PUT request
	// without a body.
	chunked
)

const (
	// largestChunk is the initial size of a chunk. Each chunk costs a round trip. The
	// limits of clouds and of proxies in front of registries are higher, or reached by
	// halving it a few times, such as the 1 MiB of an nginx that is not configured for
	// blobs.
	largestChunk = 16 << 20
	// smallestChunk is the minimum size of a chunk. If the host rejects a body of this
	// size, the reason is the blob, not the upload mode.
	smallestChunk = 256 << 10
	// maxModeChanges exceeds the number of steps from the first mode to the smallest chunk.
	maxModeChanges = 10
	// commitTimeoutFactor multiplies the timeout for the response to a complete blob,
	// because a registry may first move the blob to its final location.
	commitTimeoutFactor = 10
)

// session is an upload session.
type session struct {
	url      *url.URL
	minChunk int64 // minimum length of every chunk but the last
	offset   int64 // bytes that the registry is known to have
	sent     int64 // bytes that the registry may have
	resumed  bool  // a failed attempt sent the bytes before offset
	unusable bool  // cannot be continued
}

// nextModeError is a rejection of an upload mode. The host's capabilities now select
// another mode.
type nextModeError struct{ error }

func (e nextModeError) Unwrap() error { return e.error }

// newSession returns the session that a response started.
func (p *blobPut) newSession(q request, resp *http.Response) (*session, error) {
	u, err := p.client.target(p.host, q.url, resp.Header.Get("Location"))
	if err != nil {
		return nil, p.wrapRequest(q, err)
	}
	// A malformed value means that there is no minimum.
	minChunk, err := strconv.ParseInt(resp.Header.Get("OCI-Chunk-Min-Length"), 10, 64)
	if err != nil {
		minChunk = 0
	}
	return &session{url: u, minChunk: minChunk}, nil
}

// cancelSession cancels the session that the previous attempt left, if any.
func (p *blobPut) cancelSession(ctx context.Context) {
	if p.session != nil {
		p.cancelUpload(ctx, p.session)
		p.session = nil
	}
}

// resume asks the registry how much of the previous attempt's session it has, and reports
// whether the session can be continued. A session that was used receives only the remaining
// bytes. A short upload is not worth the request.
func (p *blobPut) resume(ctx context.Context) bool {
	s := p.session
	if s == nil || s.unusable || s.sent < largeBlob {
		return false
	}
	q := p.sessionRequest(http.MethodGet, s.url)
	q.ok = []int{http.StatusNoContent, http.StatusOK, http.StatusAccepted}
	resp, err := p.attempt(ctx, q, true)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	if resp.Header.Get("Range") == "" || p.updateSession(s, q, resp, s.sent) != nil {
		return false
	}
	s.resumed, s.sent = true, s.offset
	return s.offset > 0
}

// send uploads the content to a session in the mode that its host accepts. It sends nothing
// before the content is open.
func (p *blobPut) send(ctx context.Context, s *session, early *earlyContent) error {
	if s.offset > 0 && s.offset == p.desc.Size {
		return p.complete(ctx, s, chunked, nil) // only verified content is sent to its end
	}
	content, err := early.take(ctx, p)
	if err != nil {
		return contentError{err}
	}
	defer content.Close()
	mode, chunk := p.host.capabilities.modeFor(p.desc.Size)
	if mode == monolithic && s.offset == 0 {
		return p.complete(ctx, s, mode, p.body(content, 0, p.desc.Size))
	}
	if err := skip(content, s.offset); err != nil {
		return contentError{err}
	}
	for s.offset < p.desc.Size {
		rest := p.desc.Size - s.offset
		if rest < s.minChunk && (mode == chunked || s.offset > 0) {
			// A chunk shorter than the minimum must be in the PUT request, which marks it
			// as the last one.
			return p.complete(ctx, s, chunked, p.body(content, s.offset, p.desc.Size))
		}
		until := p.desc.Size
		if mode == chunked {
			until = s.offset + min(rest, max(chunk, s.minChunk))
		}
		if err := p.patch(ctx, s, mode, p.body(content, s.offset, until)); err != nil {
			return err
		}
	}
	return p.complete(ctx, s, mode, nil)
}

// skip reads the bytes that the registry already has, because verification must see them.
func skip(content io.Reader, n int64) error {
	read, err := io.CopyN(io.Discard, content, n)
	if err == io.EOF {
		return mismatchError("it ended after %d bytes, and had %d before", read, n)
	}
	return err
}

func (p *blobPut) body(content *blobContent, from, until int64) *uploadBody {
	body := &uploadBody{
		content: content, size: p.desc.Size, offset: from, end: until,
		stall: p.client.options.StallTimeout, commit: commitTimeoutFactor * p.client.options.HeaderTimeout,
	}
	if !content.whole {
		body.transfer = &transfer{slow: content.slow, evictions: p.evictions, queue: &content.queues.download}
	}
	return body
}

func (p *blobPut) sessionRequest(method string, u *url.URL) request {
	return request{
		op: "upload the blob", reference: p.desc.Digest.String(), method: method, url: u, scopes: p.scopes(),
		header: http.Header{"Content-Type": {"application/octet-stream"}},
	}
}

// patch sends a part of the blob, or all of it, in a PATCH request.
func (p *blobPut) patch(ctx context.Context, s *session, mode uploadMode, body *uploadBody) error {
	from, length := s.offset, body.length()
	q := p.sessionRequest(http.MethodPatch, s.url)
	q.upload = body
	q.ok = []int{http.StatusAccepted, http.StatusNoContent, http.StatusCreated, http.StatusOK}
	if mode == chunked || from > 0 {
		q.header.Set("Content-Range", contentRange(body))
	}
	p.sent = true
	resp, err := p.attempt(ctx, q, p.isRetry())
	s.sent = max(s.sent, body.currentOffset())
	if err != nil {
		return p.handleFailure(s, mode, length, err)
	}
	defer resp.Body.Close()
	if err := p.updateSession(s, q, resp, body.currentOffset()); err != nil {
		return err
	}
	if s.offset < body.end || body.currentOffset() < body.end {
		return p.wrapRequest(q, &registry.Error{Status: resp.StatusCode, Kind: registry.ErrUnavailable,
			Message: fmt.Sprintf("the registry took only %d of %d bytes", s.offset-from, length)})
	}
	return nil
}

// contentRange returns the Content-Range of a request in the syntax of the OCI distribution
// specification, which differs from HTTP's.
func contentRange(body *uploadBody) string { return fmt.Sprintf("%d-%d", body.offset, body.end-1) }

// updateSession sets the URL and the offset of a session from a response. The offset is at
// most sent. If the registry reports fewer bytes than it had, or more than were sent, the
// session cannot be continued. Another host must not direct the session back to the
// registry: requests there carry credentials, so that only the registry may choose their
// URL.
func (p *blobPut) updateSession(s *session, q request, resp *http.Response, sent int64) error {
	base := resp.Request.URL
	next, err := p.client.target(p.host, base, resp.Header.Get("Location"))
	if err == nil && !p.host.isOrigin(base) && p.host.isOrigin(next) {
		err = forbiddenRedirect("the upload is at " + registry.Sanitize(base.Host) + ", which points back to the registry")
	}
	if err != nil {
		return p.wrapRequest(q, err)
	}
	offset := sent
	if rangeHeader := resp.Header.Get("Range"); rangeHeader != "" {
		offset = received(rangeHeader, sent)
	}
	if s.unusable = offset < s.offset || offset > sent; s.unusable {
		return p.wrapRequest(q, &registry.Error{Status: resp.StatusCode, Kind: registry.ErrUnavailable,
			Message: fmt.Sprintf("the registry says %q of what was sent to it, which was %d bytes", registry.Sanitize(resp.Header.Get("Range")), sent)})
	}
	s.url, s.offset = next, offset
	return nil
}

// received returns the number of bytes in a Range header, or -1 if it is malformed. "0-0"
// means one byte, but registries also send it for none, because the syntax cannot express
// that.
func received(rangeHeader string, sent int64) int64 {
	first, last, _ := strings.Cut(rangeHeader, "-")
	end, err := strconv.ParseUint(last, 10, 62) // rejects a sign and allows adding 1
	switch {
	case first != "0" || err != nil:
		return -1
	case end == 0 && sent != 1:
		return 0
	}
	return int64(end) + 1
}

// complete ends an upload with the whole blob, with its remaining bytes, or without a body
// if everything was sent before.
func (p *blobPut) complete(ctx context.Context, s *session, mode uploadMode, body *uploadBody) error {
	q := p.sessionRequest(http.MethodPut, withDigest(s.url, p.desc.Digest))
	q.responseTimeout = commitTimeoutFactor * p.client.options.HeaderTimeout
	q.ok = []int{http.StatusCreated, http.StatusOK, http.StatusNoContent}
	var length int64
	if body != nil {
		if err := body.checkEmpty(); err != nil {
			return err
		}
		length = body.length()
		q.upload, q.responseTimeout = body, 0
		if s.offset > 0 {
			q.header.Set("Content-Range", contentRange(body))
		}
	}
	p.sent = true
	resp, err := p.attempt(ctx, q, p.isRetry())
	if body != nil {
		s.sent = max(s.sent, body.currentOffset())
	}
	if err != nil {
		return p.handleFailure(s, mode, length, err)
	}
	defer resp.Body.Close()
	if reported := digest.Digest(resp.Header.Get("Docker-Content-Digest")); reported != "" && !registry.SameDigest(reported, p.desc.Digest) {
		return p.wrapRequest(q, &registry.Error{Status: resp.StatusCode, Kind: registry.ErrMismatch, Message: "the registry says that it stored " + registry.Sanitize(reported.String())})
	}
	return nil
}

// handleFailure decides what follows after a request with length bytes of the blob failed:
// another mode, the same session, or a new one.
func (p *blobPut) handleFailure(s *session, mode uploadMode, length int64, err error) error {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok || errors.As(err, new(contentError)) {
		return err
	}
	if length > 0 && !s.resumed && p.modeRejected(e, mode, max(s.minChunk, smallestChunk), length) {
		s.unusable = true
		return nextModeError{err}
	}
	sessionLost := e.Status == http.StatusNotFound && e.Code != "NAME_UNKNOWN"
	wrongOffset := e.Status == http.StatusRequestedRangeNotSatisfiable
	resumeRejected := s.resumed && (wrongOffset || e.Status == http.StatusBadRequest || e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusRequestEntityTooLarge)
	if !sessionLost && !resumeRejected && !wrongOffset {
		return err
	}
	// The next attempt opens a new session.
	s.unusable = sessionLost || resumeRejected
	return modifyError(err, func(e *registry.Error) {
		e.Kind, e.Hint = registry.ErrUnavailable, "The registry loses uploads before they are complete. If it runs in several instances, look whether they share their storage."
	})
}

// modeRejected reports whether a host rejects an upload mode, and records it. A registry
// may respond with 404 to a request that it does not support, but also if it has lost the upload.
// The mode counts as rejected after maxRefusals such responses.
func (p *blobPut) modeRejected(e *registry.Error, mode uploadMode, least, length int64) bool {
	switch {
	case e.Status == http.StatusRequestEntityTooLarge && e.Code != "DENIED" && length > least:
		p.host.capabilities.recordRejectedMode(mode, length)
		return true
	case mode == chunked:
		return false
	case e.Status == http.StatusNotFound && e.Code != "NAME_UNKNOWN" && e.Code != "BLOB_UPLOAD_UNKNOWN":
		p.notFoundCount++
		if p.notFoundCount%maxRefusals != 0 {
			return false
		}
	case e.Status != http.StatusMethodNotAllowed:
		return false
	}
	p.host.capabilities.recordRejectedMode(mode, 1)
	return true
}

// withDigest adds the digest to the query of a session's URL. It keeps the existing query
// byte for byte, because it may be signed.
func withDigest(session *url.URL, d digest.Digest) *url.URL {
	u := *session
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "digest=" + url.QueryEscape(d.String())
	return &u
}
