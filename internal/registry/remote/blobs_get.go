package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	// maxResumes is how many times in a row a download may break before it has received
	// another minProgress bytes.
	maxResumes  = 5
	minProgress = 64 << 10
)

// StatBlob sends a HEAD request, and a GET request if the registry does not support HEAD.
func (r *repository) StatBlob(ctx context.Context, d digest.Digest) (registry.Descriptor, error) {
	if err := registry.ValidateDigest(d); err != nil {
		return registry.Descriptor{}, err
	}
	found := registry.Descriptor{Digest: d}
	stat := func(method string) error {
		return r.do(ctx, r.statRequest(method, d), func(resp *http.Response) error {
			if found.Size = resp.ContentLength; found.Size < 0 {
				return &registry.Error{Kind: registry.ErrProtocol, Message: "the registry does not say how long it is"}
			}
			return nil
		})
	}
	err := stat(http.MethodHead)
	if errors.Is(err, registry.ErrUnsupported) {
		err = stat(http.MethodGet)
	}
	return found, err
}

func (r *repository) statRequest(method string, d digest.Digest) request {
	return request{
		op: "look up the blob", object: "blob", reference: d.String(), method: method,
		url: r.url("blobs/" + d.String()), scopes: r.scopes(), ok: []int{http.StatusOK},
	}
}

// GetBlob opens a blob (OCI distribution specification, "Pulling blobs"). The reader
// resumes broken connections and verifies the size and digest.
func (r *repository) GetBlob(ctx context.Context, d registry.Descriptor) (io.ReadCloser, error) {
	if err := registry.ValidateDescriptor(d); err != nil {
		return nil, err
	}
	b := r.newBlobReader(ctx, d, 0, d.Size)
	b.queues = queuesOf(ctx)
	b.transfer, b.reading = &transfer{evict: b.evict, queue: &b.queues.upload}, true // reset by endRead below
	s, err := r.host.limiter.acquire(ctx, download, b.transfer)
	if err != nil {
		b.cancel()
		return nil, r.wrapRequest(b.request(), err)
	}
	b.slot = b.holdSlot(s)
	if err := b.open(); err != nil {
		b.cancel()
		b.slot.release()
		return nil, err
	}
	b.transfer.opened.Store(true)
	b.endRead(0, false)
	return registry.Verify(b, d, r.Name()), nil
}

// openPart requests the bytes [from, to) of a blob. The caller keeps ownership of the slot.
func (r *repository) openPart(ctx context.Context, d registry.Descriptor, from, to int64, held *heldSlot) (*blobReader, error) {
	b := r.newBlobReader(ctx, d, from, to)
	b.slot = held
	if err := b.open(); err != nil {
		b.cancel()
		return nil, err
	}
	return b, nil
}

func (r *repository) newBlobReader(ctx context.Context, d registry.Descriptor, from, to int64) *blobReader {
	b := &blobReader{repository: r, desc: d, from: from, at: from, to: to, pauses: r.client.newBackoff()}
	b.ctx, b.cancel = context.WithCancel(ctx)
	b.probe = b.newSpeedProbe()
	return b
}

// blobReader reads a blob or a part of it, over as many connections as necessary.
type blobReader struct {
	ctx        context.Context //nolint:containedctx // of the download; used by requests that resume it
	cancel     context.CancelFunc
	repository *repository
	desc       registry.Descriptor
	slot       *heldSlot
	transfer   *transfer // nil if another reader owns the slot
	queues     *queues
	from, to   int64 // byte range [from, to) of the blob
	at         int64
	resumes    int // consecutive resumes without minProgress
	resumedAt  int64
	pauses     func() time.Duration
	probe      speedProbe
	server     string // host that the current body comes from, for traces

	mu          sync.Mutex // Close may run during a Read
	body        io.ReadCloser
	closed      bool
	reading     bool
	parkPending bool                    // release the slot after the current read
	parked      bool                    // no slot and no connection until the next read
	dropped     bool                    // slot released until the next attempt
	abort       context.CancelCauseFunc // cancels the pending request
}

func (b *blobReader) Read(p []byte) (n int, err error) {
	if err := b.beginRead(); err != nil {
		return 0, err
	}
	defer func() { b.endRead(n, err == io.EOF) }()
	for {
		n, err := b.receive(p)
		switch {
		case err == nil || err == io.EOF:
			return n, err
		case b.at >= b.to:
			return n, io.EOF // all bytes received; registry.Verify checks the digest
		case b.ctx.Err() != nil:
			return n, b.repository.wrapRequest(b.request(), context.Cause(b.ctx))
		case n > 0:
			return n, nil // the next read returns the error again
		case b.isParkPending():
			b.endRead(0, false)
			if err := b.beginRead(); err != nil {
				return 0, err
			}
			continue
		}
		if err := b.resume(err); err != nil {
			return 0, err
		}
	}
}

// receive reads from the current body. It switches to parallel range requests if the
// connection is slow.
func (b *blobReader) receive(p []byte) (int, error) {
	began := time.Now()
	n, err := b.current().Read(p)
	b.at += int64(n)
	took := time.Since(began)
	registry.FlowOf(b.ctx).Waited(registry.Delay{Host: b.server}, took)
	if b.probe.slow(&b.repository.client.ranges, n, took) && err == nil {
		b.parallelize()
	}
	return n, err
}

// resume reopens the download after err. It returns an error if the last maxResumes
// attempts made little progress.
func (b *blobReader) resume(err error) error {
	if b.at-b.resumedAt >= minProgress {
		b.resumes, b.pauses = 0, b.repository.client.newBackoff()
	}
	b.resumedAt = b.at
	if b.resumes++; b.resumes > maxResumes || b.transfer == nil && b.resumes > 1 {
		return b.repository.wrapRequest(b.request(), err)
	}
	b.current().Close()
	b.probe = b.newSpeedProbe()
	if b.resumes > 1 {
		b.dropSlot()
		if cause := waitRetry(b.ctx, b.pauses()); cause != nil {
			return b.repository.wrapRequest(b.request(), cause)
		}
	}
	return b.open()
}

// Close ends the download. It may be called during a Read or while the download waits to be
// resumed.
func (b *blobReader) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.cancel()
	err := b.body.Close()
	if b.transfer != nil {
		b.slot.release()
	}
	return err
}

func (b *blobReader) current() io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.body
}

// replace makes body the source of the remaining bytes. It closes body and returns an error
// if the reader is closed.
func (b *blobReader) replace(body io.ReadCloser) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		body.Close()
		return io.ErrClosedPipe
	}
	b.body = body
	return nil
}

func (b *blobReader) request() request {
	r := b.repository
	q := request{
		op: "read the blob", object: "blob", reference: b.desc.Digest.String(), method: http.MethodGet,
		url: r.url("blobs/" + b.desc.Digest.String()), header: http.Header{},
		scopes: r.scopes(), slot: b.slot, ok: []int{http.StatusOK},
	}
	if b.at > 0 || b.isPart() {
		byteRange := fmt.Sprintf("bytes=%d-", b.at)
		if b.to < b.desc.Size {
			byteRange += fmt.Sprint(b.to - 1)
		}
		q.header.Set("Range", byteRange)
		q.ok = []int{http.StatusOK, http.StatusPartialContent}
	}
	return q
}

// isPart reports whether the reader covers only a part of the blob.
func (b *blobReader) isPart() bool { return b.from > 0 || b.to < b.desc.Size }

// open requests the remaining bytes. It always starts at the registry, because the target
// of an earlier redirect may have expired.
//
// The request of a part is sent once. If it fails, the blob is read over a single
// connection, whose slot is released before a retry.
func (b *blobReader) open() error {
	if b.transfer == nil {
		return b.tryOpen(b.ctx, b.at > b.from)
	}
	return b.repository.client.retry(b.ctx, func(attempt int) error {
		for {
			err := b.tryOpen(b.ctx, attempt > 1 || b.at > b.from)
			if err != nil {
				b.dropSlot() // other requests use the slot during the backoff
			}
			if !errors.Is(err, errEvicted) {
				return err
			}
		}
	})
}

// tryOpen makes one attempt to open the download. It returns errEvicted if another flow
// took the slot before the response arrived.
func (b *blobReader) tryOpen(ctx context.Context, isRetry bool) error {
	r := b.repository
	if err := b.takeSlot(); err != nil {
		return err
	}
	q := b.request()
	ctx, abort := context.WithCancelCause(ctx) // canceled when the reader is closed
	b.setAbort(abort)
	resp, err := r.attempt(ctx, q, isRetry)
	b.setAbort(nil)
	switch {
	case errors.Is(context.Cause(ctx), errEvicted):
		if err == nil {
			resp.Body.Close()
		}
		return errEvicted
	case err != nil:
		return err
	}
	if err := b.positionBody(resp); err != nil {
		resp.Body.Close()
		return r.wrapRequest(q.withFinalURL(resp), err)
	}
	b.server = r.delayHost(resp.Request.URL)
	return b.replace(resp.Body)
}

// positionBody advances the body of resp to the current offset. A partial response must
// cover exactly the requested range (RFC 9110, section 14.4).
func (b *blobReader) positionBody(resp *http.Response) error {
	if resp.StatusCode == http.StatusPartialContent {
		return checkContentRange(resp.Header.Values("Content-Range"), b.at, b.to, b.desc.Size)
	}
	if b.isPart() {
		return &registry.Error{Kind: registry.ErrUnsupported, Message: "the registry does not give parts of a blob"}
	}
	if resp.ContentLength >= 0 && resp.ContentLength != b.desc.Size {
		if registry.MediaType(resp.Header.Get("Content-Type")) == "text/html" {
			return &registry.Error{Kind: registry.ErrProtocol, Message: fmt.Sprintf("what came is a web page (text/html) of %d bytes, and the blob has %d", resp.ContentLength, b.desc.Size)}
		}
		return &registry.Error{Kind: registry.ErrMismatch, Message: fmt.Sprintf("the registry has %d bytes under it and its descriptor says %d", resp.ContentLength, b.desc.Size)}
	}
	if b.at == 0 {
		return nil
	}
	_, err := io.CopyN(io.Discard, resp.Body, b.at)
	return err
}

// checkContentRange returns an error unless the Content-Range header names the requested
// range [start, end).
func checkContentRange(values []string, start, end, size int64) error {
	wrong := &registry.Error{Kind: registry.ErrProtocol, Message: "it answered with another part of the blob than was asked for"}
	if len(values) != 1 {
		return wrong
	}
	total, part := strings.CutPrefix(values[0], fmt.Sprintf("bytes %d-%d/", start, end-1))
	if !part || total != "*" && total != fmt.Sprint(size) {
		return wrong
	}
	return nil
}
