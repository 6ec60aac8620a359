package remote

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// take takes a slot that must be free.
func take(t *testing.T, l *limiter, c class) *slot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	s, err := l.acquire(ctx, c)
	if err != nil {
		t.Fatalf("no slot is free: %+v held, %d allowed", l.held, l.allowed)
	}
	return s
}

// full wants no slot to be free.
func full(t *testing.T, l *limiter, c class) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := l.acquire(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("there was a slot: %+v held, %d allowed; %v", l.held, l.allowed, err)
	}
}

func TestDownloadsNeverTakeTheLastSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(3, 0)
		one, two := take(t, l, download), take(t, l, download)
		full(t, l, download)
		last := take(t, l, exchange)
		full(t, l, exchange)
		last.release()
		one.release()
		one.release() // once is enough
		take(t, l, download).release()
		two.release()
		if l.held != [2]int{} {
			t.Errorf("%v are still held", l.held)
		}
	})
}

func TestExchangesGetOnWhenTheLimitSinksBelowTheDownloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(8, 0)
		var downloads []*slot
		for range 7 {
			downloads = append(downloads, take(t, l, download))
		}
		take(t, l, exchange).release()
		throttle := take(t, l, exchange)
		throttle.throttled()
		throttle.release()
		// Seven are held and four allowed: one exchange at a time all the same.
		one := take(t, l, exchange)
		full(t, l, exchange)
		full(t, l, download)
		one.release()
		for _, d := range downloads[:4] {
			d.release()
		}
		full(t, l, download)
		take(t, l, exchange).release()
	})
}

func TestABurstOf429HalvesTheLimitOnceAndItGrowsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(8, 0)
		var burst []*slot
		for range 8 {
			burst = append(burst, take(t, l, exchange))
		}
		for _, s := range burst {
			s.throttled()
			s.release()
		}
		if l.allowed != 4 {
			t.Fatalf("after a burst %d are allowed, want 4", l.allowed)
		}
		for _, want := range []int{2, 2} {
			s := take(t, l, exchange)
			s.throttled()
			s.release()
			if l.allowed != want {
				t.Fatalf("after another %d are allowed, want %d", l.allowed, want)
			}
		}
		// One more for each round of requests that went well: 2+3+4+5+6+7.
		successes := 0
		for ; l.allowed < 8; successes++ {
			s := take(t, l, exchange)
			s.succeeded()
			s.release()
		}
		if successes != 27 {
			t.Errorf("it took %d successes until all are allowed again, want 27", successes)
		}
		for range 100 {
			s := take(t, l, exchange)
			s.succeeded()
			s.release()
		}
		if l.allowed != 8 {
			t.Errorf("%d are allowed in the end, want no more than 8", l.allowed)
		}
	})
}

func TestWhoStopsWaitingGivesThePlaceOn(t *testing.T) {
	// The place is given, and the one it is given to leaves, before either of
	// them notices. Who is first is chance: often enough, both happen.
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(2, 0)
			one, two := take(t, l, exchange), take(t, l, exchange)
			impatient, cancel := context.WithCancelCause(t.Context())
			gone := errors.New("gone")
			var waiting sync.WaitGroup
			waiting.Go(func() {
				s, err := l.acquire(impatient, exchange)
				if err == nil {
					s.release()
				} else if !errors.Is(err, gone) {
					t.Errorf("who left got %v", err)
				}
			})
			synctest.Wait() // the impatient one is first in the line
			waiting.Go(func() {
				s, err := l.acquire(t.Context(), exchange)
				if err != nil {
					t.Error(err)
					return
				}
				s.release()
			})
			synctest.Wait()
			cancel(gone)
			one.release()
			waiting.Wait()
			two.release()
			if l.held != [2]int{} || len(l.waiting[exchange]) != 0 {
				t.Errorf("%v are held and %d wait", l.held, len(l.waiting[exchange]))
			}
		})
	}
}

func TestTheLimitIsNeverExceededWhateverHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 5
		l := newLimiter(limit, 0)
		var mu sync.Mutex
		held, downloads, peak := 0, 0, 0
		count := func(c class, by int) {
			mu.Lock()
			defer mu.Unlock()
			held += by
			if c == download {
				downloads += by
			}
			peak = max(peak, held)
			if held > limit || downloads > limit-1 {
				t.Errorf("%d are under way, %d of them downloads", held, downloads)
			}
		}
		var all sync.WaitGroup
		for i := range 200 {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(2000))*time.Millisecond)
				defer cancel()
				c := class(random.IntN(2))
				s, err := l.acquire(ctx, c)
				if err != nil {
					return
				}
				count(c, 1)
				_ = sleep(t.Context(), time.Duration(random.IntN(100))*time.Millisecond)
				count(c, -1)
				if random.IntN(10) == 0 {
					s.throttled()
				} else {
					s.succeeded()
				}
				s.release()
			})
		}
		all.Wait()
		if peak != limit {
			t.Errorf("at most %d were under way, want %d", peak, limit)
		}
		if l.held != [2]int{} || len(l.waiting[exchange])+len(l.waiting[download]) != 0 {
			t.Errorf("%v are held in the end, and %d and %d wait", l.held, len(l.waiting[exchange]), len(l.waiting[download]))
		}
	})
}
