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
// deadlock because downloads never take a host's last slot, and because no
// holder of another slot waits for anything but the network: a token is fetched
// in the slot of the request that wants it.
type class int

const (
	// exchange is a request whose answer is read at once.
	exchange class = iota
	// download is a blob that is read while something else is done with it.
	download
)

const defaultConcurrency = 16

// limiter bounds what one host is asked at a time, for everything in the
// process.
type limiter struct {
	max  int           // as configured, never exceeded
	rate *rate.Limiter // nil where there is no limit a second

	mu        sync.Mutex
	allowed   int // at most max; halved by 429, grown by successes
	held      [2]int
	waiting   [2][]chan struct{}
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

// acquire waits for a slot. The error is the context's.
func (l *limiter) acquire(ctx context.Context, c class) (*slot, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	l.mu.Lock()
	if len(l.waiting[c]) == 0 && l.free(c) {
		l.held[c]++
		s := &slot{limiter: l, class: c, epoch: l.epoch}
		l.mu.Unlock()
		return s, nil
	}
	defer waited(ctx, registry.WaitSlot, time.Now())
	ready := make(chan struct{})
	l.waiting[c] = append(l.waiting[c], ready)
	l.mu.Unlock()

	select {
	case <-ready:
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		if i := slices.Index(l.waiting[c], ready); i >= 0 {
			l.waiting[c] = slices.Delete(l.waiting[c], i, i+1)
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
	if held := l.held[exchange] + l.held[download]; len(l.waiting[c]) > 0 || held >= l.allowed/2 || !l.free(c) {
		return nil
	}
	l.held[c]++
	return &slot{limiter: l, class: c, epoch: l.epoch}
}

// pace waits until the requests of the last second allow one more. The error is
// the context's, also where its deadline will come before that.
func (l *limiter) pace(ctx context.Context) error {
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

// free says whether a request of class c may be sent now. Called with mu held.
func (l *limiter) free(c class) bool {
	held := l.held[exchange] + l.held[download]
	if c == download {
		return held < l.allowed && l.held[download] < l.allowed-1
	}
	// One exchange is always allowed, however far a 429 has lowered the limit
	// below the downloads that are under way: they end only when it does.
	return held < l.allowed || l.held[exchange] == 0 && held < l.max
}

// grant gives free slots to those who wait, exchanges first: they are short and
// others wait for their answers. Called with mu held.
func (l *limiter) grant() {
	for _, c := range []class{exchange, download} {
		for len(l.waiting[c]) > 0 && l.free(c) {
			close(l.waiting[c][0])
			l.waiting[c] = l.waiting[c][1:]
			l.held[c]++
		}
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
