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
// connection can be used again. A new one costs more than this.
const maxRest = 4 << 10

// readCapped reads a body into memory, at most limit bytes of it. More is an
// error that matches registry.ErrLimit, whatever length was declared. This is
// the one place where a body is read into memory.
func readCapped(body io.Reader, limit int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = &registry.Error{Op: "read the answer", Kind: registry.ErrLimit, Message: fmt.Sprintf("it is longer than %d bytes", limit)}
	}
	return content, err
}

// errStalled is why a request was ended that made no progress.
var errStalled = errors.New("no byte came or went in time")

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

// answerBody is the body of an answer. It is watched while somebody reads it,
// and gives the slot back when it is closed.
type answerBody struct {
	io.ReadCloser
	ctx   context.Context // the request's; says why reading was ended
	watch *watchdog
	stall time.Duration
	drain bool
	close func()
}

func (b *answerBody) Read(p []byte) (int, error) {
	b.watch.reset(b.stall)
	n, err := b.ReadCloser.Read(p)
	b.watch.pause()
	if err != nil && err != io.EOF && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	return n, err
}

// Close gives the connection back where little of the answer is left. A blob's
// connection is worth nothing any more when its blob was not read to the end.
func (b *answerBody) Close() error {
	if b.drain && b.ctx.Err() == nil {
		_, _ = io.CopyN(io.Discard, b, maxRest)
	}
	err := b.ReadCloser.Close()
	b.watch.end()
	b.close()
	return err
}

// requestBody is content on its way to a registry. The watch runs while the
// network takes what was read, not while the content is waited for: that has a
// watch of its own.
type requestBody struct {
	content io.ReadCloser
	watch   *watchdog
	stall   time.Duration
	commit  time.Duration // how long the answer may take once all was sent

	mu     sync.Mutex
	err    error // what content failed with
	closed bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.watch.pause()
	n, err := b.content.Read(p)
	switch {
	case err == io.EOF:
		b.watch.reset(b.commit)
	default:
		b.watch.reset(b.stall)
	}
	if err != nil && err != io.EOF {
		b.fail(err)
	}
	return n, err
}

// fail remembers why the content ended. What it fails with after it was closed
// is no failure of its own: then it is the sending that ended.
func (b *requestBody) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.err = contentError{err}
	}
}

// Close closes the content, also while it is read.
func (b *requestBody) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	return b.content.Close()
}

// contentError is an error of what was to be sent. Whoever gave the content has
// tried what there is to try: to send it again is in vain.
type contentError struct{ error }

func (e contentError) Unwrap() error { return e.error }

// failed is the error of the content itself, if that is why sending ended.
func (b *requestBody) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}
