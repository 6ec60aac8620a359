package remote

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// uploadBody is the body of one request that sends all of the content, or the bytes between
// two offsets. In the second case the content stays open for the request that sends the
// following bytes. The watchdog runs while the network accepts bytes, but not while the
// body waits for the content, which has a watchdog of its own.
type uploadBody struct {
	content *blobContent
	size    int64 // of the content
	end     int64 // offset at which this request ends
	stall   time.Duration
	commit  time.Duration // timeout for the response after all bytes were sent
	// transfer measures how long the body waits for the content; nil if it is in memory.
	transfer *transfer

	mu     sync.Mutex
	watch  *watchdog // of the current request; nil if there is none
	offset int64     // position in the content
	err    error     // error of the content
}

// length returns the number of bytes left to send.
func (b *uploadBody) length() int64 { return b.end - b.offset }

// Read is called by the transport.
func (b *uploadBody) Read(p []byte) (int, error) {
	if b.handedOver() {
		return 0, io.EOF // the watchdog still waits for the response
	}
	b.pause()
	if b.end < b.size {
		p = p[:min(int64(len(p)), b.end-b.currentOffset())]
	}
	b.transfer.block()
	n, err := b.content.Read(p)
	b.transfer.unblock(n)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.offset += int64(n); b.offset >= b.end {
		b.transfer.finish()
	}
	switch {
	case b.offset > b.size:
		err = mismatchError("it has more than the %d bytes that its descriptor says", b.size)
	case err == io.EOF && b.offset < b.size:
		err = mismatchError("it ended after %d of %d bytes", b.offset, b.size)
	}
	if err != nil && err != io.EOF {
		b.err = contentError{err}
	}
	if b.watch != nil {
		b.watch.reset(b.wait())
	}
	return n, err
}

func mismatchError(format string, args ...any) error {
	return &registry.Error{Op: "read the content", Kind: registry.ErrMismatch, Message: fmt.Sprintf(format, args...)}
}

// checkEmpty verifies that content of size 0 has no bytes. The transport does not read such
// content.
func (b *uploadBody) checkEmpty() error {
	if b.size > 0 {
		return nil
	}
	_, err := io.ReadFull(b, make([]byte, 1))
	if err != io.EOF {
		return b.contentErr()
	}
	return nil
}

// wait returns how long the network may take for the bytes it was given. After the last
// bytes this includes the wait for the response. b.mu must be held.
func (b *uploadBody) wait() time.Duration {
	if b.offset >= b.end {
		return b.commit
	}
	return b.stall
}

// setWatchdog sets the watchdog of the request that sends the content. It is nil after the
// response, which may arrive before everything was sent.
func (b *uploadBody) setWatchdog(w *watchdog) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watch = w
}

func (b *uploadBody) pause() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watch != nil {
		b.watch.pause()
	}
}

// currentOffset returns how much of the content was read.
func (b *uploadBody) currentOffset() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.offset
}

// handedOver reports whether the content belongs to the request that sends the following
// bytes. From then on this body does not touch it, even if a transport reads late.
func (b *uploadBody) handedOver() bool { return b.end < b.size && b.currentOffset() == b.end }

// Close closes the content, even during a Read, unless another request continues with it.
func (b *uploadBody) Close() error {
	if b.handedOver() {
		return nil
	}
	return b.content.Close()
}

// contentErr returns the error of the content itself, or nil if that did not end the
// request.
func (b *uploadBody) contentErr() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// contentError is an error of the content to be sent. The source of the content has already
// made its own retries, so that another upload would fail too.
type contentError struct{ error }

func (e contentError) Unwrap() error { return e.error }
