package remote

import (
	"context"
	"errors"
	"io"
	"time"
)

// maxErrorBytes bounds how much of an error response is read.
const maxErrorBytes = 64 << 10

// maxDrainBytes is how much of an unwanted response is read so that its connection can be
// reused, and drainTimeout is how long that may take. A new connection costs more than
// reading these bytes, but less than waiting that long.
const (
	maxDrainBytes = 4 << 10
	drainTimeout  = time.Second
)

// errStalled is the cause of canceling a request that made no progress.
var errStalled = errors.New("it made no progress in time")

// watchdog cancels the context of a request with errStalled if the request makes no
// progress.
type watchdog struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// newWatchdog returns a context that is canceled if reset is not called in time. The first
// call is due after d, and each further one after the duration given to the previous call.
func newWatchdog(ctx context.Context, d time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watchdog{cancel: cancel, timer: time.AfterFunc(d, func() { cancel(errStalled) })}
}

func (w *watchdog) reset(d time.Duration) { w.timer.Reset(d) }

// pause stops the timer while the network is not the cause of a delay.
func (w *watchdog) pause() { w.timer.Stop() }

// end stops the timer and releases the context.
func (w *watchdog) end() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// responseBody watches the body of a response for progress. The body of a blob is watched
// only during a Read. Any other body must arrive completely within stall: otherwise reading
// a body of limited size into memory could take forever, one byte at a time.
type responseBody struct {
	io.ReadCloser
	ctx   context.Context //nolint:containedctx // of the request; its cause is returned by Read
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

// Close drains a short rest of the body so that the connection can be reused. It does not
// drain a blob, whose connection is not worth keeping if the blob was not read to its end.
func (b *responseBody) Close() error {
	if !b.blob && b.ctx.Err() == nil {
		b.watch.reset(drainTimeout)
		_, _ = io.CopyN(io.Discard, b.ReadCloser, maxDrainBytes)
	}
	err := b.ReadCloser.Close()
	b.watch.end()
	return err
}

// hookedBody calls onClose after its body was closed.
type hookedBody struct {
	io.ReadCloser
	onClose func()
}

func (c *hookedBody) Close() error {
	defer c.onClose()
	return c.ReadCloser.Close()
}
