package remote

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	// headSize is how many bytes of a blob are read before a slot of the
	// destination is requested. A blob that is not longer is sent from memory.
	headSize = 64 << 10
	// maxHeads bounds the memory that heads take in a process.
	maxHeads = 128
)

// blobContent is the content of a blob, of which the first bytes are in memory.
// Close may be called while it is read.
type blobContent struct {
	rest    io.ReadCloser
	buffers buffers
	queues  *queues
	sending *registry.Stopwatch // runs while a request that sends it holds a slot
	// whole reports that all of it is in memory and rest is closed.
	whole bool
	// slow reports that the head came slower than minRate.
	slow bool
	// evicted reports that the upload gave its slot to another flow.
	evicted atomic.Bool

	mu     sync.Mutex
	head   []byte // what is left of it
	buffer []byte // that the head is in, nil once given back
	closed bool
}

// openContent opens content of a size and reads its head. It returns the error
// of the content, or a mismatch if content that fits into the head has another
// size. The head is empty if no buffer is free.
func (c *Client) openContent(ctx context.Context, size int64, source registry.Content) (*blobContent, error) {
	queues := &queues{}
	rest, err := source.Open(withQueues(ctx, queues))
	if err != nil {
		return nil, err
	}
	content := &blobContent{rest: rest, queues: queues, sending: source.Sending, buffers: c.headBuffers, buffer: c.headBuffers.take(headSize)}
	if content.buffer == nil {
		return content, nil
	}
	stop := context.AfterFunc(ctx, func() { _ = rest.Close() })
	defer stop()
	began := time.Now()
	var n int64
	for n < min(size, headSize) && err == nil {
		var more int
		more, err = rest.Read(content.buffer[n:min(size, headSize)])
		n += int64(more)
	}
	content.head = content.buffer[:n]
	content.slow = float64(n) < minRate*time.Since(began).Seconds()
	switch {
	case n == size && (err == nil || err == io.EOF):
		err = content.end(size)
	case err == io.EOF:
		err = mismatchError("it ended after %d of %d bytes", n, size)
	}
	if err != nil {
		_ = content.Close()
		return nil, err
	}
	return content, nil
}

// end checks that no bytes follow the head, and closes the rest.
func (c *blobContent) end(size int64) error {
	switch _, err := io.CopyN(io.Discard, c.rest, 1); {
	case err == nil:
		return mismatchError("it has more than the %d bytes that its descriptor says", size)
	case err != io.EOF:
		return err
	}
	c.whole = true
	return c.rest.Close()
}

func (c *blobContent) Read(p []byte) (int, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return 0, io.ErrClosedPipe
	}
	if n := copy(p, c.head); n > 0 {
		if c.head = c.head[n:]; len(c.head) == 0 {
			c.giveBack()
		}
		c.mu.Unlock()
		return n, nil
	}
	c.mu.Unlock()
	if c.whole {
		return 0, io.EOF
	}
	return c.rest.Read(p)
}

// Close closes the content and gives its buffer back. Further calls do nothing.
func (c *blobContent) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.giveBack()
	c.mu.Unlock()
	if again || c.whole {
		return nil
	}
	return c.rest.Close()
}

// giveBack gives the buffer to other blobs. Called with mu held.
func (c *blobContent) giveBack() {
	if c.buffer != nil {
		c.buffers.giveBack(c.buffer)
		c.head, c.buffer = nil, nil
	}
}

// earlyContent is content that is opened while the destination is asked for the
// blob. A nil earlyContent opens it when it is needed.
type earlyContent struct {
	cancel context.CancelFunc
	opened chan openedContent
}

type openedContent struct {
	content *blobContent
	err     error
}

// openEarly opens the content ahead of its use if the caller wants that. It does
// not after a failure, which may have been the content's.
func (p *blobPut) openEarly(ctx context.Context) *earlyContent {
	if !p.content.Prefetch || p.content.Force || p.isRetry() {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	e := &earlyContent{cancel: cancel, opened: make(chan openedContent, 1)}
	go func() {
		content, err := p.client.openContent(ctx, p.desc.Size, p.content)
		e.opened <- openedContent{content, err}
	}()
	return e
}

// take returns the content, which is the caller's to close and must not be read
// after drop.
func (e *earlyContent) take(ctx context.Context, p *blobPut) (*blobContent, error) {
	if e == nil {
		return p.client.openContent(ctx, p.desc.Size, p.content)
	}
	o := <-e.opened
	close(e.opened)
	return o.content, o.err
}

// drop ends the content, also while it is being opened.
func (e *earlyContent) discard() {
	if e == nil {
		return
	}
	e.cancel()
	if o := <-e.opened; o.content != nil {
		_ = o.content.Close()
	}
}
