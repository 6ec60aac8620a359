package copier

import (
	"io"
	"sync"
	"sync/atomic"
)

// Progress is the progress of all copies of a Copier, in bytes of blobs.
type Progress struct {
	// Known is the total size of the blobs found so far, without what failed copies did
	// not complete.
	Known int64
	// Done is how much of it was copied, mounted or already present, or has been read
	// from the source.
	Done int64
}

// Progress returns the progress of all copies that are running or have run.
func (c *Copier) Progress() Progress {
	return Progress{Known: c.progress.known.Load(), Done: c.progress.done.Load()}
}

// progress contains the sums of all meters, in bytes.
type progress struct{ known, done atomic.Int64 }

// meter tracks the contribution of one blob to the progress. abandon does nothing on a nil
// meter.
type meter struct {
	progress *progress

	mu         sync.Mutex
	size       int64 // bytes added to progress.known
	counted    int64 // bytes added to progress.done
	generation int   // the current read; an abandoned one may continue but does not count
}

// meter returns the meter of a blob. size is negative if it is unknown.
func (p *progress) meter(size int64) *meter {
	m := &meter{progress: p}
	m.expect(max(size, 0))
	return m
}

// expect sets the size of the blob.
func (m *meter) expect(size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress.known.Add(size - m.size)
	m.size = size
}

// restart resets the bytes that were read, because the blob is read again from its first
// byte.
func (m *meter) restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation++
	m.count(0)
}

// read returns a reader that counts the bytes read from content until the next restart.
func (m *meter) read(content io.ReadCloser) io.ReadCloser {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &meteredReader{ReadCloser: content, meter: m, generation: m.generation}
}

// done records that the destination has the blob.
func (m *meter) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation++
	m.count(m.size)
}

// abandon records that the rest of the blob will not be copied.
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

// count sets the number of bytes done. The caller must hold mu.
func (m *meter) count(n int64) {
	m.progress.done.Add(n - m.counted)
	m.counted = n
}

// meteredReader counts the bytes read while generation is that of its meter.
type meteredReader struct {
	io.ReadCloser
	meter      *meter
	generation int
}

// Read implements io.Reader.
func (r *meteredReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.meter.mu.Lock()
	defer r.meter.mu.Unlock()
	if r.generation == r.meter.generation {
		r.meter.count(r.meter.counted + int64(n))
	}
	return n, err
}
