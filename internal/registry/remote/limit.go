package remote

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// requestClass describes the other host, if any, that a request depends on while it holds a
// slot. See "Scheduling" in ARCHITECTURE.md for the reasons.
type requestClass int

const (
	// exchange is a request that needs its own host only: its body is in memory, and its
	// response is read immediately.
	exchange requestClass = iota
	// upload is a request whose body is read from another host while it is sent.
	upload
	// download is a response that is read as fast as another host accepts it.
	download

	classes = iota
)

const defaultConcurrency = 16

// limiter bounds the requests in flight to one host, for the whole process, and divides the
// slots between flows. Transfers (classes upload and download) hold a slot while they
// depend on a second host. Three rules keep the speed of that host from affecting other
// flows:
//
//   - Transfers leave a slot to exchanges, and a flow with many transfers leaves some of
//     the free slots to flows with fewer (leavesShare).
//   - A free slot goes to the flow that holds the fewest (precedes).
//   - A flow without a slot for a transfer gets one from a transfer that is blocked by its
//     second host, or from a flow with several (evict.go).
//
// Downloads never hold the last slots, and one upload is always admitted. A download that
// waits for an upload can be evicted without loss, so that no cycle of waiting transfers
// lasts.
type limiter struct {
	host string        // name of the host
	max  int           // as configured, never exceeded
	rate *rate.Limiter // nil if the rate is unlimited

	mu        sync.Mutex
	allowed   int // at most max; halved by a 429, raised by successes
	held      [classes]int
	flows     map[*registry.Flow]*share
	transfers []*slot   // held by uploads and downloads
	waiting   []*waiter // none of them can be granted a slot at the moment
	eviction  *time.Timer
	successes int
	epoch     int // number of halvings
}

func newLimiter(concurrency int, perSecond float64) *limiter {
	if concurrency == 0 {
		concurrency = defaultConcurrency
	}
	l := &limiter{max: concurrency, allowed: concurrency, flows: map[*registry.Flow]*share{}}
	if perSecond > 0 {
		// A burst of 1 keeps every request within the rate.
		l.rate = rate.NewLimiter(rate.Limit(perSecond), 1)
	}
	return l
}

// slot is the permission to have one request in flight.
type slot struct {
	limiter  *limiter
	class    requestClass
	flow     *registry.Flow
	epoch    int
	once     sync.Once
	transfer *transfer // nil for an exchange
	start    progress  // progress when the slot was granted
	compared progress  // progress at the last comparison
	evicted  bool
}

// waiter is a request that waits for a slot. Closing ready grants it.
type waiter struct {
	class    requestClass
	flow     *registry.Flow
	transfer *transfer
	since    time.Time
	ready    chan struct{}
	urgent   bool      // no transfer of the host makes progress before this one; see unblock
	promised time.Time // when a transfer was last evicted for this waiter
}

// resumes reports whether the waiter continues a download whose upload may already hold a
// slot.
func (w *waiter) resumes() bool { return w.transfer != nil && w.transfer.opened.Load() }

// acquire waits for a slot of class c. t is the transfer that the slot is for, or nil for
// an exchange. If the context ends while the request waits for other flows, the error is a
// *registry.BusyError; otherwise it is the cause of the context.
func (l *limiter) acquire(ctx context.Context, c requestClass, t *transfer) (*slot, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	now := time.Now()
	w := &waiter{class: c, flow: registry.FlowOf(ctx), transfer: t, since: now, ready: make(chan struct{})}
	l.mu.Lock()
	l.shareOf(w.flow).slow = l.shareOf(w.flow).slow || t != nil && t.slow
	if l.free(w) {
		s := l.take(w)
		l.mu.Unlock()
		return s, nil
	}
	holder := l.holder(w)
	defer func() {
		traceWait(ctx, registry.WaitSlot, now)
		if holder != "" { // otherwise the flow's own transfers record the delay
			w.flow.Waited(registry.Delay{Reason: registry.WaitSlot, Host: l.host, Holder: holder}, time.Since(now))
		}
	}()
	l.waiting = append(l.waiting, w)
	l.shareOf(w.flow).waiting++
	l.scheduleEviction()
	l.mu.Unlock()

	select {
	case <-w.ready:
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		if i := slices.Index(l.waiting, w); i >= 0 {
			l.waiting = slices.Delete(l.waiting, i, i+1)
			l.shareOf(w.flow).waiting--
			l.forget(w.flow)
			l.grant()
		} else { // granted concurrently
			l.takeBack(l.slotFor(w))
		}
		holder = l.holder(w) // a flow that has ended meanwhile is not the reason for the wait
		return nil, l.busyError(ctx, w)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	holder = cmp.Or(l.holder(w), holder)
	return l.slotFor(w), nil
}

// take grants w a slot immediately. l.mu must be held.
func (l *limiter) take(w *waiter) *slot {
	l.count(w.flow, w.class, 1)
	return l.slotFor(w)
}

// slotFor returns the slot that w was granted. l.mu must be held.
func (l *limiter) slotFor(w *waiter) *slot {
	s := &slot{limiter: l, class: w.class, flow: w.flow, epoch: l.epoch, transfer: w.transfer}
	if s.class != exchange {
		s.start = w.transfer.progress()
		s.compared = s.start
		l.transfers = append(l.transfers, s)
	}
	return s
}

// count adds n to the number of slots of a class that a flow holds. l.mu must be held.
func (l *limiter) count(flow *registry.Flow, c requestClass, n int) {
	l.held[c] += n
	f := l.shareOf(flow)
	f.held += n
	if c != exchange {
		f.transfers += n
	}
}

// tryAcquireSpare returns a slot for a download if one is free and less than half of the
// slots are in use, and nil otherwise. It is for requests that only make a transfer faster.
func (l *limiter) tryAcquireSpare(ctx context.Context, t *transfer) *slot {
	w := &waiter{class: download, flow: registry.FlowOf(ctx), transfer: t}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inFlight() >= l.allowed/2 || !l.free(w) {
		l.forget(w.flow)
		return nil
	}
	return l.take(w)
}

// waitRate waits until the rate limit allows one more request. It returns an error without
// waiting if the context's deadline is before that.
func (l *limiter) waitRate(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if l.rate == nil {
		return nil
	}
	began := time.Now()
	err := l.rate.Wait(ctx)
	traceWait(ctx, registry.WaitRate, began)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		// The request would be allowed only after the operation's deadline.
		return permanent{registry.WithText(context.DeadlineExceeded, "requests_per_second leaves no time for another request")}
	}
	return nil
}

// traceWait reports a wait that began at the given time to the trace of ctx.
func traceWait(ctx context.Context, why registry.WaitReason, began time.Time) {
	registry.TraceOf(ctx).Wait(registry.Wait{For: why, Took: time.Since(began)})
}

// inFlight returns the number of slots that are held. l.mu must be held.
func (l *limiter) inFlight() (n int) {
	for _, held := range l.held {
		n += held
	}
	return n
}

// free reports whether w can be granted a slot now. l.mu must be held.
func (l *limiter) free(w *waiter) bool {
	held, bulk := l.inFlight(), l.held[upload]+l.held[download]
	switch w.class {
	case download:
		if w.urgent {
			break
		}
		return held < l.allowed && bulk < l.allowed-1 && l.held[download] < max(l.allowed-2, 1) && l.leavesShare(w)
	case upload:
		if l.held[upload] > 0 {
			return held < l.allowed && bulk < l.allowed-1 && l.leavesShare(w)
		}
	case exchange:
		if l.held[exchange] > 0 {
			return held < l.allowed
		}
	}
	// One upload and one exchange are always admitted, even if a 429 has lowered the limit
	// below the number of downloads in flight: those downloads may end only after them. An
	// urgent download is admitted because the uploads in flight wait for it.
	return held < l.max
}

// grant gives free slots to waiters in the order of precedes. l.mu must be held.
func (l *limiter) grant() {
	for {
		next := -1
		for i, w := range l.waiting {
			if (next < 0 || l.precedes(w, l.waiting[next])) && l.free(w) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		w := l.waiting[next]
		l.waiting = slices.Delete(l.waiting, next, next+1)
		l.shareOf(w.flow).waiting--
		l.count(w.flow, w.class, 1)
		close(w.ready)
	}
}

// takeBack reclaims a slot and grants it to a waiter. l.mu must be held.
func (l *limiter) takeBack(s *slot) {
	if s.class != exchange {
		l.transfers = slices.DeleteFunc(l.transfers, func(other *slot) bool { return other == s })
		if s.fast() {
			l.shareOf(s.flow).slow = false
		}
	}
	l.count(s.flow, s.class, -1)
	l.forget(s.flow)
	l.grant()
	l.scheduleEviction()
}

// release releases the slot. Further calls have no effect.
func (s *slot) release() {
	s.once.Do(func() {
		s.limiter.mu.Lock()
		defer s.limiter.mu.Unlock()
		s.limiter.takeBack(s)
	})
}

// answered adjusts the limit to the status of a response.
func (s *slot) answered(status int) {
	switch {
	case status == http.StatusTooManyRequests:
		s.throttled()
	case status < 500:
		s.succeeded()
	}
}

// succeeded raises the limit by one for each round of requests that succeeded.
func (s *slot) succeeded() {
	l := s.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.allowed == l.max {
		return
	}
	if l.successes++; l.successes >= l.allowed {
		l.successes = 0
		l.allowed++
		l.grant()
	}
}

// throttled halves the limit because the host responded with 429. It does so once for all
// requests that were in flight together.
func (s *slot) throttled() {
	l := s.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.epoch != l.epoch {
		return
	}
	l.epoch++
	l.successes = 0
	l.allowed = max(l.allowed/2, 2)
}
