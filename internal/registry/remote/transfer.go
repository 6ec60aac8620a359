package remote

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
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
	// evictions is how many uploads of the blob were evicted before this one.
	evictions int
	// resumed reports that the transfer was evicted before and that its other side
	// is in flight.
	resumed atomic.Bool
	// queue is the time for which the second host was not waited for, but a slot of
	// it. nil if that is not known.
	queue *registry.Stopwatch

	mu      sync.Mutex
	moved   int64              // bytes
	last    int64              // of them, which the second host may still be taking
	sent    bool               // the second host is not needed any more
	blocked registry.Stopwatch // runs while the second host is waited for
}

// queues are the times for which the two sides of one blob waited for a slot. The
// upload puts them into the context that it opens its content with.
type queues struct{ download, upload registry.Stopwatch }

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
		t.blocked.Start()
	}
}

// unblock records that n more bytes moved and that the transfer no longer
// waits.
func (t *transfer) unblock(n int) {
	if t == nil {
		return
	}
	t.blocked.Stop()
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
	return t.blocked.Total()
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
	return progress{at: time.Now(), blocked: t.blocked.Total(), queued: t.queue.Total(), moved: t.moved, last: t.last, sent: t.sent}
}
