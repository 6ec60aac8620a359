package remote

import (
	"context"
	"errors"
	"io"
	"time"
)

// maxErrorBytes is the cap on what is read of an answer that only explains
// itself.
const maxErrorBytes = 64 << 10

// maxRest is how much of an answer that nobody wants is read so that its
// connection can be used again, and restPatience how long that may take. A new
// connection costs more than the former and less than the latter.
const (
	maxDrainBytes = 4 << 10
	drainTimeout  = time.Second
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
type responseBody struct {
	io.ReadCloser
	ctx   context.Context //nolint:containedctx // the request's; it says why reading was ended
	watch *watchdog
	stall time.Duration
	blob  bool
}

func newResponseBody(ctx context.Context, body io.ReadCloser, watch *watchdog, stall time.Duration, blob bool) *responseBody {
	if !blob {
		watch.reset(stall)
	}
	return &responseBody{ReadCloser: body, ctx: ctx, watch: watch, stall: stall, blob: blob}
}

func (b *responseBody) Read(p []byte) (int, error) {
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
func (b *responseBody) Close() error {
	if !b.blob && b.ctx.Err() == nil {
		b.watch.reset(drainTimeout)
		_, _ = io.CopyN(io.Discard, b.ReadCloser, maxDrainBytes)
	}
	err := b.ReadCloser.Close()
	b.watch.end()
	return err
}

// closing calls a function after its body was closed.
type hookedBody struct {
	io.ReadCloser
	onClose func()
}

func (c *hookedBody) Close() error {
	defer c.onClose()
	return c.ReadCloser.Close()
}
