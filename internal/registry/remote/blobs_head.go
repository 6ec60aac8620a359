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
	// headSize is how many bytes of a blob are read before a slot of the destination is
	// requested. Blobs up to this size are sent from memory.
	headSize = 64 << 10
	// maxHeads bounds the number of head buffers in a process, and with it their memory.
	maxHeads = 128
)

// blobContent is the content of a blob with its first bytes buffered in memory. Close may
// be called during a Read.
type blobContent struct {
	rest    io.ReadCloser
	buffers buffers
	queues  *queues
	sending *registry.Stopwatch // runs while a request that sends the content holds a slot
	// whole reports whether all content is in memory and rest is closed.
	whole bool
	// slow reports whether the head arrived at less than minRate.
	slow bool
	// evicted reports whether the upload gave its slot to another flow.
	evicted atomic.Bool

	mu     sync.Mutex
	head   []byte // unread bytes of the head
	buffer []byte // contains the head; nil if no buffer was free or after it was released
	closed bool
}

// openContent opens source and reads its head. It returns an error if source fails, ends
// early, or fits into the head but has more than size bytes. The head is empty if no buffer
// is free.
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

// end checks that no bytes follow the head and closes rest.
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

// Close closes the content and releases its buffer. Further calls have no effect.
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

// giveBack releases the buffer for other blobs. c.mu must be held.
func (c *blobContent) giveBack() {
	if c.buffer != nil {
		c.buffers.giveBack(c.buffer)
		c.head, c.buffer = nil, nil
	}
}

// earlyContent is content that is opened while the client asks the destination for the
// blob. A nil *earlyContent opens the content when take is called.
type earlyContent struct {
	cancel context.CancelFunc
	opened chan openedContent
}

type openedContent struct {
	content *blobContent
	err     error
}

// openEarly starts to open the content if Prefetch is set. It returns nil if Force is set.
// It also returns nil on a retry, because the content may have caused the failure.
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

// take returns the content. The caller must close it and must not read it after discard.
func (e *earlyContent) take(ctx context.Context, p *blobPut) (*blobContent, error) {
	if e == nil {
		return p.client.openContent(ctx, p.desc.Size, p.content)
	}
	o := <-e.opened
	close(e.opened)
	return o.content, o.err
}

// discard cancels the context of the content and closes content that was not taken.
func (e *earlyContent) discard() {
	if e == nil {
		return
	}
	e.cancel()
	if o := <-e.opened; o.content != nil {
		_ = o.content.Close()
	}
}
