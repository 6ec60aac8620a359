package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// maxErrorBytes is the cap on what is read of an answer that only explains
// itself.
const maxErrorBytes = 64 << 10

// maxRest is how much of an answer that nobody wants is read so that its
// connection can be used again, and restPatience how long that may take. A new
// connection costs more than the former and less than the latter.
const (
	maxRest      = 4 << 10
	restPatience = time.Second
)

// errStalled is why a request was ended that made no progress.
var errStalled = errors.New("it made no progress in time")

// watchdog ends a request that makes no progress: it cancels its context with
// errStalled.
type watchdog struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// newWatchdog returns a context that ends when nothing has called reset for the
// time that the last call gave.
func newWatchdog(ctx context.Context, d time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watchdog{cancel: cancel, timer: time.AfterFunc(d, func() { cancel(errStalled) })}
}

func (w *watchdog) reset(d time.Duration) { w.timer.Reset(d) }

// pause stops the watch: what happens now is not the network's fault.
func (w *watchdog) pause() { w.timer.Stop() }

// end releases the context.
func (w *watchdog) end() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// answerBody is the body of an answer, watched for progress: a blob's while
// somebody reads it, and that of any other answer until it has come whole,
// because what is read into memory under a cap could otherwise take for ever,
// a byte at a time.
type answerBody struct {
	io.ReadCloser
	ctx   context.Context //nolint:containedctx // the request's; it says why reading was ended
	watch *watchdog
	stall time.Duration
	blob  bool
}

func newAnswerBody(ctx context.Context, body io.ReadCloser, watch *watchdog, stall time.Duration, blob bool) *answerBody {
	if !blob {
		watch.reset(stall)
	}
	return &answerBody{ReadCloser: body, ctx: ctx, watch: watch, stall: stall, blob: blob}
}

func (b *answerBody) Read(p []byte) (int, error) {
	if b.blob {
		b.watch.reset(b.stall)
		defer b.watch.pause()
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	return n, err
}

// Close gives the connection back where little of the answer is left. A blob's
// connection is worth nothing any more when its blob was not read to the end.
func (b *answerBody) Close() error {
	if !b.blob && b.ctx.Err() == nil {
		b.watch.reset(restPatience)
		_, _ = io.CopyN(io.Discard, b.ReadCloser, maxRest)
	}
	err := b.ReadCloser.Close()
	b.watch.end()
	return err
}

// closing calls a function after its body was closed.
type closing struct {
	io.ReadCloser
	then func()
}

func (c *closing) Close() error {
	defer c.then()
	return c.ReadCloser.Close()
}

// uploadBody is what one request sends of content on its way to a registry: all
// of it, or what is between two positions, which leaves the content open for the
// request that sends what follows. The watch runs while the network takes what
// was read, not while the content is waited for: that has a watch of its own.
type uploadBody struct {
	content *blobContent
	size    int64 // of the content
	until   int64 // the position in it that this request sends it to
	stall   time.Duration
	commit  time.Duration // how long the answer may take once all was sent
	// transfer measures how long the content was waited for; nil if it is in memory.
	transfer *transfer

	mu    sync.Mutex
	watch *watchdog // of the request that sends it; nil where there is none
	at    int64     // the position in the content
	err   error     // what content failed with
}

// length is how many bytes there are left to send.
func (b *uploadBody) length() int64 { return b.until - b.at }

// Read is called by the transport.
func (b *uploadBody) Read(p []byte) (int, error) {
	if b.handedOver() {
		return 0, io.EOF // and its answer is waited for as before
	}
	b.pause()
	if b.until < b.size {
		p = p[:min(int64(len(p)), b.until-b.position())]
	}
	b.transfer.block()
	n, err := b.content.Read(p)
	b.transfer.unblock(n)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at += int64(n); b.at >= b.until {
		b.transfer.finish()
	}
	switch {
	case b.at > b.size:
		err = mismatched("it has more than the %d bytes that its descriptor says", b.size)
	case err == io.EOF && b.at < b.size:
		err = mismatched("it ended after %d of %d bytes", b.at, b.size)
	}
	if err != nil && err != io.EOF {
		b.err = contentError{err}
	}
	if b.watch != nil {
		b.watch.reset(b.wait())
	}
	return n, err
}

func mismatched(format string, args ...any) error {
	return &registry.Error{Op: "read the content", Kind: registry.ErrMismatch, Message: fmt.Sprintf(format, args...)}
}

// empty makes sure of content that has no bytes: nobody else reads it.
func (b *uploadBody) empty() error {
	if b.size > 0 {
		return nil
	}
	_, err := io.ReadFull(b, make([]byte, 1))
	if err != io.EOF {
		return b.failed()
	}
	return nil
}

// wait is how long the network may take with what it was given. With the last
// bytes it also waits for the answer. Called with mu held.
func (b *uploadBody) wait() time.Duration {
	if b.at >= b.until {
		return b.commit
	}
	return b.stall
}

// watchedBy says which watch looks after the request that sends the content; nil
// once it was answered, which may be before all was sent.
func (b *uploadBody) watchedBy(w *watchdog) {
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
func (b *uploadBody) position() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at
}

// handedOver says whether the content is now for the request that sends what
// follows. From then on this one does not touch it, however late a transport
// asks for more.
func (b *uploadBody) handedOver() bool { return b.until < b.size && b.position() == b.until }

// Close closes the content, also while it is read, unless another request is to
// go on with it.
func (b *uploadBody) Close() error {
	if b.handedOver() {
		return nil
	}
	return b.content.Close()
}

// failed is the error of the content itself, if that is why sending ended.
func (b *uploadBody) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// contentError is an error of what was to be sent. Whoever gave the content has
// tried what there is to try: to send it again is in vain.
type contentError struct{ error }

func (e contentError) Unwrap() error { return e.error }
