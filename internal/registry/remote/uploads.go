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

// uploadMode is how the bytes of a blob are sent: the rungs of a ladder, of which a
// host is sent the first that it was not seen to refuse (OCI distribution
// specification, "Pushing blobs").
type uploadMode int

const (
	// monolithic: the whole blob in the PUT that completes the upload. It is the
	// fastest, and the only one that all clouds' registries do well.
	monolithic uploadMode = iota
	// streamed: the whole blob in a PATCH, and a PUT without a body. What Docker
	// does, so that every registry was made for it.
	streamed
	// chunked: a PATCH for each part of the blob, and a PUT without a body.
	chunked
)

const (
	// largestChunk is what chunks are begun with. Each costs a round trip, and
	// the limits of clouds and of proxies in front of registries are above this
	// or, such as that of 1 MiB of an nginx that nobody set up for blobs, a few
	// halves below it.
	largestChunk = 16 << 20
	// smallestChunk is where a refusal is taken for one of the blob and not of
	// how it is sent.
	smallestChunk = 256 << 10
	// maxSteps is more than there are from the first way to the smallest chunk.
	maxModeChanges = 10
	// commitPatience is how much longer than for other answers is waited for
	// the one to a blob: a registry may move it to its place first.
	commitTimeoutFactor = 10
)

// session is an open upload.
type session struct {
	url      *url.URL
	minChunk int64 // how short a chunk may be that is not the last
	offset   int64 // how much of the blob the registry has, as far as is known
	sent     int64 // how much it may have
	resumed  bool  // what is there was sent by an attempt that failed
	unusable bool  // nothing of it can be used any more
}

// stepped is a refusal of how a blob was sent. There is another way, which the
// host is remembered to want.
type nextModeError struct{ error }

func (e nextModeError) Unwrap() error { return e.error }

// opened is the session that an answer opens.
func (p *blobPut) newSession(q request, resp *http.Response) (*session, error) {
	u, err := p.client.target(p.host, q.url, resp.Header.Get("Location"))
	if err != nil {
		return nil, p.wrapRequest(q, err)
	}
	// What is no number asks for nothing.
	minChunk, err := strconv.ParseInt(resp.Header.Get("OCI-Chunk-Min-Length"), 10, 64)
	if err != nil {
		minChunk = 0
	}
	return &session{url: u, minChunk: minChunk}, nil
}

// abandon gives up the session that is left of an attempt.
func (p *blobPut) cancelSession(ctx context.Context) {
	if p.session != nil {
		p.cancelUpload(ctx, p.session)
		p.session = nil
	}
}

// resume says whether the attempt before left a session that can be continued.
// Nothing but the rest is ever sent to one that was used. It is not worth asking
// for little.
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

// send brings the content to a session, the way that its host takes it. Nothing
// is sent before the content is there.
func (p *blobPut) send(ctx context.Context, s *session, early *earlyContent) error {
	if s.offset > 0 && s.offset == p.desc.Size {
		return p.complete(ctx, s, chunked, nil) // only content that was found right is sent to its end
	}
	content, err := early.take(ctx, p)
	if err != nil {
		return contentError{err}
	}
	defer content.Close()
	mode, chunk := p.host.seen.modeFor(p.desc.Size)
	if mode == monolithic && s.offset == 0 {
		return p.complete(ctx, s, mode, p.body(content, 0, p.desc.Size))
	}
	if err := skip(content, s.offset); err != nil {
		return contentError{err}
	}
	for s.offset < p.desc.Size {
		rest := p.desc.Size - s.offset
		if rest < s.minChunk && (mode == chunked || s.offset > 0) {
			// Only the PUT tells the registry that this one may be that short.
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

// skip reads what the registry already has: verifying content wants to see it.
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
		op: "upload the blob", about: p.desc.Digest.String(), method: method, url: u, scopes: p.scopes(),
		header: http.Header{"Content-Type": {"application/octet-stream"}},
	}
}

// patch sends a part of the blob, or all of it.
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

// contentRange is what a request sends of a blob, in the words of the OCI
// distribution specification, which are not those of HTTP.
func contentRange(body *uploadBody) string { return fmt.Sprintf("%d-%d", body.offset, body.end-1) }

// goesOn takes from an answer where a session goes on, and how far it came, which
// is no further than was sent. Where the registry has less than it had, or more
// than that, the session is worth nothing. From another place it never leads
// back to the registry, where requests have credentials: nobody but the registry
// says what is asked of it.
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

// received is how many bytes a Range says that were received, -1 where it says
// nothing that makes sense. "0-0" is one byte, and is said of none: there is no
// other way to say that.
func received(rangeHeader string, sent int64) int64 {
	first, last, _ := strings.Cut(rangeHeader, "-")
	end, err := strconv.ParseUint(last, 10, 62) // no sign, and one more is a number too
	switch {
	case first != "0" || err != nil:
		return -1
	case end == 0 && sent != 1:
		return 0
	}
	return int64(end) + 1
}

// complete ends an upload, with the whole blob, with what is left of it, or with
// nothing where all was sent before.
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

// refused decides what comes after a request with so many bytes of the blob
// failed: to send it another way, to continue the session or to open another.
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
	// Another one is opened by trying again.
	s.unusable = sessionLost || resumeRejected
	return modifyError(err, func(e *registry.Error) {
		e.Kind, e.Hint = registry.ErrUnavailable, "The registry loses uploads before they are complete. If it runs in several instances, look whether they share their storage."
	})
}

// modeRejected says whether a host refuses how something is sent to it, and remembers
// it. A registry that is asked for what it does not know may answer 404, as it
// does where it has lost an upload: it is believed to mean the first when it
// says so twice.
func (p *blobPut) modeRejected(e *registry.Error, mode uploadMode, least, length int64) bool {
	switch {
	case e.Status == http.StatusRequestEntityTooLarge && e.Code != "DENIED" && length > least:
		p.host.seen.refusedWay(mode, length)
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
	p.host.seen.refusedWay(mode, 1)
	return true
}

// withDigest adds the digest to the query of an upload's place, which is kept
// byte for byte: it may be signed.
func withDigest(session *url.URL, d digest.Digest) *url.URL {
	u := *session
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "digest=" + url.QueryEscape(d.String())
	return &u
}
