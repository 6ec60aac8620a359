package copier

import (
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// tally counts what one copy does.
type tally struct {
	mu     sync.Mutex
	report Report
}

func (t *tally) change(f func(*Report)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.report)
}

// trace makes a tally count the requests of a context.
func (t *tally) trace() registry.Trace {
	return registry.Trace{
		Request: func(q registry.Request) {
			t.change(func(r *Report) {
				r.Requests++
				if q.Retry {
					r.Retries++
				}
			})
		},
		Warning: func(text string) {
			t.change(func(r *Report) {
				if !slices.Contains(r.Warnings, text) {
					r.Warnings = append(r.Warnings, text)
				}
			})
		},
	}
}

func (t *tally) root(d registry.Descriptor) {
	t.change(func(r *Report) {
		r.Digest = d.Digest
		if d.MediaType != "" {
			r.MediaType = d.MediaType
		}
	})
}

func (t *tally) tagged(tag string) { t.change(func(r *Report) { r.Tagged = append(r.Tagged, tag) }) }

func (t *tally) manifest() { t.change(func(r *Report) { r.Manifests++ }) }

// took counts n blobs of a size, that came by an outcome; -1 takes one back.
func (t *tally) took(o registry.Outcome, size int64, n int) {
	t.change(func(r *Report) {
		count := &r.Present
		switch o {
		case registry.Copied:
			count = &r.Copied
		case registry.Mounted:
			count = &r.Mounted
		}
		count.Blobs += n
		count.Bytes += int64(n) * size
	})
}

func (t *tally) done(took time.Duration) Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Duration = took
	return t.report
}

// Progress is how far all copies of a Copier are, in bytes of blobs.
type Progress struct {
	// Known is what is to be at the destinations, as far as is known by now.
	Known int64
	// Done is how much of it is, however it came there, or is on its way.
	Done int64
}

// Progress says how far the copies are that run and have run.
func (c *Copier) Progress() Progress {
	return Progress{Known: c.progress.known.Load(), Done: c.progress.done.Load()}
}

type progress struct{ known, done atomic.Int64 }

func (p *progress) expect(size int64) { p.known.Add(max(size, 0)) }

func (p *progress) move(size int64) { p.done.Add(max(size, 0)) }

// count counts what is read of content. What is closed before its end was read
// in vain.
func (p *progress) count(content io.ReadCloser) io.ReadCloser {
	return &countedReader{ReadCloser: content, progress: p}
}

type countedReader struct {
	io.ReadCloser
	progress *progress
	read     atomic.Int64
	whole    atomic.Bool
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.read.Add(int64(n))
	c.progress.move(int64(n))
	if err == io.EOF {
		c.whole.Store(true)
	}
	return n, err
}

func (c *countedReader) Close() error {
	if !c.whole.Load() {
		c.progress.done.Add(-c.read.Swap(0))
	}
	return c.ReadCloser.Close()
}
