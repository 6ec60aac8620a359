package remote

import (
	"context"
	"io"
	"sync"
	"time"
)

// ranges configures when and how a blob is read with parallel range requests.
type ranges struct {
	// from is the minimum size of a blob for parallel reads. Smaller blobs are numerous and
	// are downloaded concurrently anyway.
	from int64
	// probeBytes is how many bytes are read before the speed of the connection is judged. If it
	// reaches enough bytes per second, more connections are not worth their requests.
	probeBytes int64
	enough     float64
	// part is the size of one range request and of its buffer.
	part int64
	// maxWorkers is the maximum number of additional connections per blob.
	maxWorkers int
}

// maxBuffers bounds the buffers for parallel reads from one host. Each host has its own
// buffers, so that blobs of a slow host do not prevent parallel reads from another one.
const maxBuffers = 8

func newRanges() ranges {
	return ranges{from: 64 << 20, probeBytes: 8 << 20, enough: 150 << 20, part: 2 << 20, maxWorkers: 6}
}

// speedProbe measures the speed of one connection, once.
type speedProbe struct {
	over   bool
	read   int64
	waited time.Duration
}

// newSpeedProbe returns a probe for the current connection. The probe is already over if
// the blob is not eligible for parallel reads.
func (b *blobReader) newSpeedProbe() speedProbe {
	c := b.repository.client
	return speedProbe{over: b.isPart() || b.desc.Size < c.ranges.from || c.options.NoRanges}
}

// slow records that a read waited for the given time for n bytes. It reports, at most once,
// whether the trial shows that the connection is slow.
func (t *speedProbe) slow(r *ranges, n int, waited time.Duration) bool {
	if t.over {
		return false
	}
	t.read += int64(n)
	t.waited += waited
	t.over = t.read >= r.probeBytes
	return t.over && float64(t.read) < t.waited.Seconds()*r.enough
}

// parallelize reads the rest of the blob over several connections, because many networks
// and registries limit the rate of a single connection. The current connection delivers the
// next part, so that no read waits for the others to start. If they fail, the download
// continues over a single connection.
func (b *blobReader) parallelize() {
	size := b.repository.client.ranges.part
	start := b.at + size
	if start >= b.to || !b.repository.host.capabilities.supportsRanges() {
		return
	}
	p := &rangeReader{reader: b, size: size, at: start}
	p.ctx, p.cancel = context.WithCancel(b.ctx)
	for more := true; more && len(p.workers) < b.repository.client.ranges.maxWorkers; {
		more = p.addWorker()
	}
	if len(p.workers) < 2 {
		_ = p.Close()
		return
	}
	for i, w := range p.workers {
		p.running.Go(func() { p.run(w, start+int64(i)*size) })
	}
	primary := b.current()
	if b.replace(&parallelBody{primary: primary, remaining: size, parts: p}) != nil {
		_ = p.Close() // the reader was closed concurrently
	}
}

// parallelBody reads the next part of a blob from the primary connection and the rest from
// parallel ones. It closes the primary connection once the others have delivered data. If
// they fail before that, it continues with the primary connection.
type parallelBody struct {
	primary   io.ReadCloser
	remaining int64 // bytes that are always read from primary
	parts     *rangeReader
	// began reports whether the parallel connections have delivered data, and failed
	// whether they failed before that.
	began, failed bool
}

func (w *parallelBody) Read(p []byte) (int, error) {
	switch {
	case w.remaining > 0:
		n, err := w.primary.Read(p[:min(int64(len(p)), w.remaining)])
		w.remaining -= int64(n)
		return n, err
	case w.failed:
		return w.primary.Read(p)
	}
	n, err := w.parts.Read(p)
	switch {
	case w.began:
	case err == nil:
		w.began = true
		_ = w.primary.Close()
	default:
		w.failed = true
		_ = w.parts.Close()
		return w.primary.Read(p)
	}
	return n, err
}

func (w *parallelBody) Close() error {
	_ = w.parts.Close()
	return w.primary.Close()
}

// rangeReader reads the rest of a blob over several connections and returns the parts in
// order. With n workers, each worker fetches every nth part into its buffer. It fetches the
// next part only after the buffer was read, which bounds memory.
type rangeReader struct {
	ctx     context.Context //nolint:containedctx // of the download; used by the workers' requests
	cancel  context.CancelFunc
	reader  *blobReader
	size    int64 // of one part
	workers []*worker
	running sync.WaitGroup

	mu      sync.Mutex // held by Read and by Close
	at      int64
	next    int    // index of the worker with the next part
	content []byte // unread bytes of the current part
	closed  bool
}

// worker fetches parts over one connection.
type worker struct {
	slot     *heldSlot
	buffer   []byte
	results  chan part     // fetched parts
	consumed chan struct{} // signals that the buffer was read
}

type part struct {
	content []byte
	err     error
}

// addWorker adds a worker. It returns false if no slot or no buffer is free.
func (p *rangeReader) addWorker() bool {
	r := p.reader.repository
	buffer := r.host.partBuffers.take(p.size)
	if buffer == nil {
		return false
	}
	s := r.host.limiter.tryAcquireSpare(p.ctx, p.reader.transfer)
	if s == nil {
		r.host.partBuffers.giveBack(buffer)
		return false
	}
	held := hold(s)
	held.fixed = true
	p.workers = append(p.workers, &worker{slot: held, buffer: buffer, results: make(chan part), consumed: make(chan struct{})})
	return true
}

// run fetches the parts of w. The first one is at offset at.
func (p *rangeReader) run(w *worker, at int64) {
	for ; at < p.reader.to; at += int64(len(p.workers)) * p.size {
		content, err := p.fetch(w, at)
		select {
		case w.results <- part{content, err}:
		case <-p.ctx.Done():
			return
		}
		select {
		case <-w.consumed:
		case <-p.ctx.Done():
			return
		}
	}
}

// fetch reads one part into the buffer of w.
func (p *rangeReader) fetch(w *worker, at int64) ([]byte, error) {
	content := w.buffer[:min(p.size, p.reader.to-at)]
	r := p.reader.repository
	b, err := r.openPart(p.ctx, p.reader.desc, at, at+int64(len(content)), w.slot)
	if err != nil {
		if p.ctx.Err() == nil && !isTransient(err) {
			r.host.capabilities.recordNoRanges() // the host does not serve ranges, whatever the error
		}
		return nil, err
	}
	defer b.Close()
	_, err = io.ReadFull(b, content)
	return content, err
}

// Read returns the parts in order.
func (p *rangeReader) Read(into []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return 0, io.ErrClosedPipe
	case p.at == p.reader.to:
		return 0, io.EOF
	}
	w := p.workers[p.next]
	if len(p.content) == 0 {
		select {
		case fetched := <-w.results:
			if fetched.err != nil {
				return 0, fetched.err
			}
			p.content = fetched.content
		case <-p.ctx.Done():
			return 0, context.Cause(p.ctx)
		}
	}
	n := copy(into, p.content)
	p.at += int64(n)
	if p.content = p.content[n:]; len(p.content) == 0 {
		p.next = (p.next + 1) % len(p.workers)
		select {
		case w.consumed <- struct{}{}:
		case <-p.ctx.Done():
		}
	}
	return n, nil
}

// Close stops all workers and releases their slots and buffers. It may be called during a
// Read.
func (p *rangeReader) Close() error {
	p.cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	p.running.Wait()
	for _, w := range p.workers {
		w.slot.release()
		p.reader.repository.host.partBuffers.giveBack(w.buffer)
	}
	return nil
}
