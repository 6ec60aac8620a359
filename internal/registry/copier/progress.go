package copier

import (
	"io"
	"sync"
	"sync/atomic"
)

// Progress is how far all copies of a Copier are, in bytes of blobs.
type Progress struct {
	// Known is what is to be at the destinations, as far as is known by now and
	// has not failed.
	Known int64
	// Done is how much of it is, however it came there, or is on its way.
	Done int64
}

// Progress says how far the copies are that run and have run.
func (c *Copier) Progress() Progress {
	return Progress{Known: c.progress.known.Load(), Done: c.progress.done.Load()}
}

type progress struct{ known, done atomic.Int64 }

// meter is what one blob contributes to the progress. A nil meter contributes
// nothing.
type meter struct {
	progress *progress

	mu         sync.Mutex
	size       int64 // what is known of it
	counted    int64 // what is done of it
	generation int   // the reading that counts: one that was given up may still go on
}

// meter makes the meter of a blob of a size, negative where it is not known.
func (p *progress) meter(size int64) *meter {
	m := &meter{progress: p}
	m.expect(max(size, 0))
	return m
}

// expect says how large the blob is.
func (m *meter) expect(size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress.known.Add(size - m.size)
	m.size = size
}

// restart forgets what was read of the blob: it is read from its first byte
// again.
func (m *meter) restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation++
	m.count(0)
}

// read counts what is read of the blob's content until it is restarted.
func (m *meter) read(content io.ReadCloser) io.ReadCloser {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &meteredReader{ReadCloser: content, meter: m, generation: m.generation}
}

// done says that the blob is at the destination.
func (m *meter) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation++
	m.count(m.size)
}

// abandon says that no more of the blob will come.
func (m *meter) abandon() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation++
	m.progress.known.Add(m.counted - m.size)
	m.size = m.counted
}

// count sets how much is done. Called with mu held.
func (m *meter) count(n int64) {
	m.progress.done.Add(n - m.counted)
	m.counted = n
}

type meteredReader struct {
	io.ReadCloser
	meter      *meter
	generation int
}

func (r *meteredReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.meter.mu.Lock()
	defer r.meter.mu.Unlock()
	if r.generation == r.meter.generation {
		r.meter.count(r.meter.counted + int64(n))
	}
	return n, err
}
