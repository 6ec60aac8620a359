package remote

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// transfer is a request that depends on a second host: an upload reads from it, and a
// download is read by it. It measures how long it waits for that host.
type transfer struct {
	// evict ends the request so that its slot is released. It may be called from any
	// goroutine, at most once per slot.
	evict func()
	// slow reports whether the second host was slower than minRate before the slot was
	// requested.
	slow bool
	// evictions is how many uploads of the blob were evicted before this one.
	evictions int
	// opened reports whether a download was opened before. An upload may hold a slot while
	// it waits for such a download to be resumed.
	opened atomic.Bool
	// queue measures how long the transfer waited for a slot of the second host, and not
	// for the host itself. It is nil if that is unknown.
	queue *registry.Stopwatch

	mu      sync.Mutex
	moved   int64              // bytes
	last    int64              // size of the last piece, which the second host may still be processing
	sent    bool               // the second host is no longer needed
	blocked registry.Stopwatch // runs while the transfer waits for the second host
}

// queues measures how long the two sides of one blob waited for a slot. The upload adds it
// to the context with which it opens its content.
type queues struct{ download, upload registry.Stopwatch }

type queuesKey struct{}

func withQueues(ctx context.Context, q *queues) context.Context {
	return context.WithValue(ctx, queuesKey{}, q)
}

// queuesOf returns the queues of ctx, or new ones if it has none.
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

// block records that the transfer starts to wait for its second host.
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

// waited returns how long the transfer has waited for its second host.
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
