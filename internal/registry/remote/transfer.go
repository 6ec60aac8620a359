package remote

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// transfer is a request that depends on a second host: an upload reads from it,
// and a download is read by it. It measures how long that host was waited for.
type transfer struct {
	// evict ends the request so that its slot is released. It may be called from
	// any goroutine, at most once for a slot.
	evict func()
	// slow reports that the second host was slower than minRate before the slot
	// was requested.
	slow bool
	// resumed reports that the transfer was evicted before and that its other side
	// is in flight.
	resumed atomic.Bool
	// queue is the time for which the second host was not waited for, but a slot of
	// it. nil if that is not known.
	queue *stopwatch

	mu      sync.Mutex
	moved   int64     // bytes
	last    int64     // of them, which the second host may still be taking
	sent    bool      // the second host is not needed any more
	blocked stopwatch // runs while the second host is waited for
}

// stopwatch is the sum of several intervals.
type stopwatch struct {
	mu    sync.Mutex
	since time.Time // when the present interval began, zero if there is none
	sum   time.Duration
}

func (s *stopwatch) start() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		s.since = time.Now()
	}
}

func (s *stopwatch) stop() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.since.IsZero() {
		s.sum += time.Since(s.since)
		s.since = time.Time{}
	}
}

func (s *stopwatch) total() time.Duration {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		return s.sum
	}
	return s.sum + time.Since(s.since)
}

// queues are the times for which the two sides of one blob waited for a slot. The
// upload puts them into the context that it opens its content with.
type queues struct{ download, upload stopwatch }

type queuesKey struct{}

func withQueues(ctx context.Context, q *queues) context.Context {
	return context.WithValue(ctx, queuesKey{}, q)
}

// queuesOf returns the queues of a context, new ones if it has none.
func queuesOf(ctx context.Context) *queues {
	if q, ok := ctx.Value(queuesKey{}).(*queues); ok {
		return q
	}
	return &queues{}
}

// progress is a snapshot of a transfer.
type progress struct {
	at              time.Time
	blocked, queued time.Duration
	moved, last     int64
	sent            bool
}

// block records that the transfer waits for its second host from now on.
func (t *transfer) block() {
	if t != nil {
		t.blocked.start()
	}
}

// unblock records that n more bytes moved and that the transfer no longer
// waits.
func (t *transfer) unblock(n int) {
	if t == nil {
		return
	}
	t.blocked.stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	if n > 0 {
		t.moved, t.last = t.moved+int64(n), int64(n)
	}
}

// waited returns for how long the transfer has waited for its second host.
func (t *transfer) waited() time.Duration {
	if t == nil {
		return 0
	}
	return t.blocked.total()
}

// finish records that the transfer no longer needs its second host.
func (t *transfer) finish() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent = true
}

func (t *transfer) progress() progress {
	if t == nil {
		return progress{at: time.Now()}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return progress{at: time.Now(), blocked: t.blocked.total(), queued: t.queue.total(), moved: t.moved, last: t.last, sent: t.sent}
}
