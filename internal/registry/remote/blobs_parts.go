package remote

import (
	"context"
	"io"
	"sync"
	"time"
)

// ranges says when a blob is read in parts over several connections, and how.
type ranges struct {
	// from is the size of a blob from which on it may be. Smaller ones are many
	// and travel side by side.
	from int64
	// trial is how much of a blob is read before its connection is judged, and
	// enough the speed, in bytes a second, from which on further ones are not
	// worth their requests.
	trial  int64
	enough float64
	// part is how much one request asks for, and how large a buffer is.
	part int64
	// lanes is how many further connections one blob is read over at most.
	lanes int
}

// maxBuffers bounds the buffers for parts of all blobs of one host. Each host has its own,
// so that blobs of a slow host do not keep those of another one from being read in parts.
const maxBuffers = 8

func newRanges() ranges {
	return ranges{from: 64 << 20, trial: 8 << 20, enough: 150 << 20, part: 2 << 20, lanes: 6}
}

// speedProbe judges, once, how fast a connection brings a blob.
type speedProbe struct {
	over   bool
	read   int64
	waited time.Duration
}

// newTrial is one for what comes next of a blob, which is over already where
// there is nothing to judge.
func (b *blobReader) newSpeedProbe() speedProbe {
	c := b.repository.client
	return speedProbe{over: b.isPart() || b.desc.Size < c.ranges.from || c.options.NoRanges}
}

// slow takes n bytes that were waited for, and says whether the connection
// turns out to be slow.
func (t *speedProbe) slow(r *ranges, n int, waited time.Duration) bool {
	if t.over {
		return false
	}
	t.read += int64(n)
	t.waited += waited
	t.over = t.read >= r.trial
	return t.over && float64(t.read) < t.waited.Seconds()*r.enough
}

// parallelize reads what is left of a blob over several connections: many networks and
// registries limit what a single one gets. The one that is there brings the next
// part, so that nothing waits for the others to begin. Where they fail, reading
// goes on over one, as after any connection that broke.
func (b *blobReader) parallelize() {
	size := b.repository.client.ranges.part
	start := b.at + size
	if start >= b.to || !b.repository.host.seen.supportsRanges() {
		return
	}
	p := &rangeReader{reader: b, size: size, at: start}
	p.ctx, p.cancel = context.WithCancel(b.ctx)
	for more := true; more && len(p.workers) < b.repository.client.ranges.lanes; {
		more = p.addWorker()
	}
	if len(p.workers) < 2 {
		_ = p.Close()
		return
	}
	for i, l := range p.workers {
		p.running.Go(func() { p.run(l, start+int64(i)*size) })
	}
	primary := b.current()
	if b.replace(&parallelBody{primary: primary, remaining: size, parts: p}) != nil {
		_ = p.Close() // it was closed in this moment
	}
}

// widened is the next part of a blob over the connection that was there alone,
// and the others behind it. That one is hung up once they have brought something,
// and goes on where they bring nothing.
type parallelBody struct {
	primary   io.ReadCloser
	remaining int64 // that alone is to bring in any case
	parts     *rangeReader
	// began says that the others have brought something, failed that they have
	// not and will not.
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

// rangeReader are what is left of a blob, read over several connections, each part
// into a buffer, and given in their order. Each lane brings every so manieth
// part, and waits with the next one until its buffer was read, which bounds the
// memory.
type rangeReader struct {
	ctx     context.Context //nolint:containedctx // the download's, for what its lanes ask
	cancel  context.CancelFunc
	reader  *blobReader
	size    int64 // of a part
	workers []*worker
	running sync.WaitGroup

	mu      sync.Mutex // held while it is read, and while it ends
	at      int64
	next    int    // the lane that has what comes next
	content []byte // what is left of the part that is being read
	closed  bool
}

// worker is one connection's part of the work.
type worker struct {
	slot     *heldSlot
	buffer   []byte
	results  chan part     // what it brought
	consumed chan struct{} // that its buffer was read
}

type part struct {
	content []byte
	err     error
}

// addLane adds a lane where there is a slot of the host and a buffer for it.
func (p *rangeReader) addWorker() bool {
	r := p.reader.repository
	buffer := r.host.parts.take(p.size)
	if buffer == nil {
		return false
	}
	s := r.host.limiter.tryAcquireSpare(p.ctx, p.reader.transfer)
	if s == nil {
		r.host.parts.giveBack(buffer)
		return false
	}
	p.workers = append(p.workers, &worker{slot: hold(s), buffer: buffer, results: make(chan part), consumed: make(chan struct{})})
	return true
}

// run brings the parts of a lane, of which the first is at a position.
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

// bring reads one part into the lane's buffer.
func (p *rangeReader) fetch(w *worker, at int64) ([]byte, error) {
	content := w.buffer[:min(p.size, p.reader.to-at)]
	r := p.reader.repository
	b, err := r.openPart(p.ctx, p.reader.desc, at, at+int64(len(content)), w.slot)
	if err != nil {
		if p.ctx.Err() == nil && !isTransient(err) {
			r.host.seen.recordNoRanges() // it does not give parts, in whatever words
		}
		return nil, err
	}
	defer b.Close()
	_, err = io.ReadFull(b, content)
	return content, err
}

// Read gives the parts in their order.
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

// Close ends all lanes, also while they are read, and gives back what they held.
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
		p.reader.repository.host.parts.giveBack(w.buffer)
	}
	return nil
}
