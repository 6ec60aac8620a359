package remote

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// class is what a request holds its slot for. Whoever copies a blob holds the
// slot of the download while it waits for one of the upload, on this host or
// another, where others do the same in the other direction. That cannot
// deadlock because downloads never take a host's last slots, one upload is
// always let through, and no holder of another slot waits for anything but the
// network: a token is fetched in the slot of the request that wants it.
//
// What takes long, in either direction, leaves a slot to what does not: the
// manifests and the many small blobs go on while the large ones are under way.
type class int

const (
	// exchange is a request whose answer is read at once.
	exchange class = iota
	// upload is a large blob, or a large part of one, on its way to the host.
	upload
	// download is a blob that is read while something else is done with it.
	download

	classes = iota
)

const defaultConcurrency = 16

// limiter bounds what one host is asked at a time, for everything in the
// process.
type limiter struct {
	max  int           // as configured, never exceeded
	rate *rate.Limiter // nil where there is no limit a second

	mu        sync.Mutex
	allowed   int // at most max; halved by 429, grown by successes
	held      [classes]int
	waiting   []waiter // none of whom can be given a slot at the moment
	successes int
	epoch     int // counts halvings
}

func newLimiter(concurrency int, perSecond float64) *limiter {
	if concurrency == 0 {
		concurrency = defaultConcurrency
	}
	l := &limiter{max: concurrency, allowed: concurrency}
	if perSecond > 0 {
		// A burst of one: a limit a second is exceeded by none.
		l.rate = rate.NewLimiter(rate.Limit(perSecond), 1)
	}
	return l
}

// slot is the right to have one request in flight.
type slot struct {
	limiter *limiter
	class   class
	epoch   int
	once    sync.Once
}

// waiter is who waits for a slot. What is closed says that there is one.
type waiter struct {
	class class
	ready chan struct{}
}

// acquire waits for a slot. The error is the context's.
func (l *limiter) acquire(ctx context.Context, c class) (*slot, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	l.mu.Lock()
	if l.free(c) {
		l.held[c]++
		s := &slot{limiter: l, class: c, epoch: l.epoch}
		l.mu.Unlock()
		return s, nil
	}
	defer waited(ctx, registry.WaitSlot, time.Now())
	w := waiter{c, make(chan struct{})}
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()

	select {
	case <-w.ready:
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		if i := slices.Index(l.waiting, w); i >= 0 {
			l.waiting = slices.Delete(l.waiting, i, i+1)
		} else { // granted in this very moment: pass it on
			l.held[c]--
			l.grant()
		}
		return nil, context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return &slot{limiter: l, class: c, epoch: l.epoch}, nil
}

// spare is a slot of a class that leaves half of them to others, nil where there
// is none at the moment. It is for what only makes something faster.
func (l *limiter) spare(c class) *slot {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inFlight() >= l.allowed/2 || !l.free(c) {
		return nil
	}
	l.held[c]++
	return &slot{limiter: l, class: c, epoch: l.epoch}
}

// pace waits until the requests of the last second allow one more. The error is
// the context's, also where its deadline will come before that.
func (l *limiter) pace(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if l.rate == nil {
		return nil
	}
	began := time.Now()
	err := l.rate.Wait(ctx)
	waited(ctx, registry.WaitRate, began)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		// Its turn would come after the operation's deadline.
		return permanent{registry.Reworded(context.DeadlineExceeded, "requests_per_second leaves no time for another request")}
	}
	return nil
}

// waited tells the trace of a wait that is over.
func waited(ctx context.Context, why registry.WaitReason, began time.Time) {
	registry.TraceOf(ctx).Wait(registry.Wait{For: why, Took: time.Since(began)})
}

// inFlight is how many requests are under way. Called with mu held.
func (l *limiter) inFlight() (n int) {
	for _, held := range l.held {
		n += held
	}
	return n
}

// free says whether a request of class c may be sent now. Called with mu held.
func (l *limiter) free(c class) bool {
	held, bulk := l.inFlight(), l.held[upload]+l.held[download]
	switch c {
	case download:
		return held < l.allowed && bulk < l.allowed-1 && l.held[download] < max(l.allowed-2, 1)
	case upload:
		if l.held[upload] > 0 {
			return held < l.allowed && bulk < l.allowed-1
		}
	case exchange:
		if l.held[exchange] > 0 {
			return held < l.allowed
		}
	}
	// One of each is always allowed, however far a 429 has lowered the limit
	// below the downloads that are under way: they end only when it does.
	return held < l.max
}

// grant gives free slots to those who wait, in their order, but downloads last:
// the others are what downloads already under way wait for. Called with mu held.
func (l *limiter) grant() {
	for _, last := range []bool{false, true} {
		l.waiting = slices.DeleteFunc(l.waiting, func(w waiter) bool {
			if (w.class == download) != last || !l.free(w.class) {
				return false
			}
			close(w.ready)
			l.held[w.class]++
			return true
		})
	}
}

// release gives the slot back. Further calls do nothing.
func (s *slot) release() {
	s.once.Do(func() {
		l := s.limiter
		l.mu.Lock()
		defer l.mu.Unlock()
		l.held[s.class]--
		l.grant()
	})
}

// succeeded lets the limit grow back by one for each round of requests that
// went well.
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

// throttled halves the limit because the host answered 429: once for all
// requests that were under way together, since they say the same thing.
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
