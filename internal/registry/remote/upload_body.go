package remote

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// uploadBody is what one request sends of content on its way to a registry: all
// of it, or what is between two positions, which leaves the content open for the
// request that sends what follows. The watch runs while the network takes what
// was read, not while the content is waited for: that has a watch of its own.
type uploadBody struct {
	content *blobContent
	size    int64 // of the content
	end     int64 // the position in it that this request sends it to
	stall   time.Duration
	commit  time.Duration // how long the answer may take once all was sent
	// transfer measures how long the content was waited for; nil if it is in memory.
	transfer *transfer

	mu     sync.Mutex
	watch  *watchdog // of the request that sends it; nil where there is none
	offset int64     // the position in the content
	err    error     // what content failed with
}

// length is how many bytes there are left to send.
func (b *uploadBody) length() int64 { return b.end - b.offset }

// Read is called by the transport.
func (b *uploadBody) Read(p []byte) (int, error) {
	if b.handedOver() {
		return 0, io.EOF // and its answer is waited for as before
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

// empty makes sure of content that has no bytes: nobody else reads it.
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

// wait is how long the network may take with what it was given. With the last
// bytes it also waits for the answer. Called with mu held.
func (b *uploadBody) wait() time.Duration {
	if b.offset >= b.end {
		return b.commit
	}
	return b.stall
}

// watchedBy says which watch looks after the request that sends the content; nil
// once it was answered, which may be before all was sent.
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

// position is how far the content was read.
func (b *uploadBody) currentOffset() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.offset
}

// handedOver says whether the content is now for the request that sends what
// follows. From then on this one does not touch it, however late a transport
// asks for more.
func (b *uploadBody) handedOver() bool { return b.end < b.size && b.currentOffset() == b.end }

// Close closes the content, also while it is read, unless another request is to
// go on with it.
func (b *uploadBody) Close() error {
	if b.handedOver() {
		return nil
	}
	return b.content.Close()
}

// failed is the error of the content itself, if that is why sending ended.
func (b *uploadBody) contentErr() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// contentError is an error of what was to be sent. Whoever gave the content has
// tried what there is to try: to send it again is in vain.
type contentError struct{ error }

func (e contentError) Unwrap() error { return e.error }
