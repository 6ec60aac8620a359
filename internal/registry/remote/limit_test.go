package remote

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// acquireNow acquires a slot that must be free.
func acquireNow(t *testing.T, l *limiter, c requestClass) *slot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	s, err := l.acquire(ctx, c, testTransfer(c))
	if err != nil {
		t.Fatalf("acquire() found no free slot: %+v held, %d allowed", l.held, l.allowed)
	}
	return s
}

// testTransfer returns the transfer for a request of the given class.
func testTransfer(c requestClass) *transfer {
	if c == exchange {
		return nil
	}
	return &transfer{}
}

// assertFull fails the test if a slot is free.
func assertFull(t *testing.T, l *limiter, c requestClass) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := l.acquire(ctx, c, testTransfer(c)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("acquire() = %v with %+v held and %d allowed, want a timeout", err, l.held, l.allowed)
	}
}

func TestLimiter_SlotForExchanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(4, 0)
		one, two := acquireNow(t, l, download), acquireNow(t, l, download)
		assertFull(t, l, download) // the other slots are kept for the uploads that these downloads feed
		up := acquireNow(t, l, upload)
		assertFull(t, l, upload)
		last := acquireNow(t, l, exchange)
		assertFull(t, l, exchange)
		last.release()
		one.release()
		one.release() // a second release has no effect
		second := acquireNow(t, l, upload)
		assertFull(t, l, upload)
		assertFull(t, l, download)
		acquireNow(t, l, exchange).release()
		for _, s := range []*slot{two, up, second} {
			s.release()
		}
		for range 3 {
			acquireNow(t, l, upload)
		}
		assertFull(t, l, upload)
		assertFull(t, l, download)
		acquireNow(t, l, exchange).release()
	})
}

func TestLimiter_TwoSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(2, 0)
		down := acquireNow(t, l, download)
		assertFull(t, l, download)
		up := acquireNow(t, l, upload)
		assertFull(t, l, upload)
		assertFull(t, l, exchange)
		up.release()
		down.release()
		up = acquireNow(t, l, upload)
		assertFull(t, l, upload)
		assertFull(t, l, download)
		acquireNow(t, l, exchange).release()
		up.release()
	})
}

func TestLimiter_Order(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(2, 0)
		one, two := acquireNow(t, l, exchange), acquireNow(t, l, exchange)
		var mu sync.Mutex
		var order []requestClass
		var all sync.WaitGroup
		want := []requestClass{download, exchange, upload, exchange}
		for _, c := range want {
			all.Go(func() {
				s, err := l.acquire(t.Context(), c, testTransfer(c))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, c)
				mu.Unlock()
				_ = sleep(t.Context(), time.Second)
				s.release()
			})
			synctest.Wait()
		}
		one.release()
		all.Wait()
		two.release()
		if want := []requestClass{exchange, upload, exchange, download}; !slices.Equal(order, want) {
			t.Errorf("order = %v, want %v", order, want)
		}
	})
}

func TestLimiter_LimitBelowDownloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(8, 0)
		var downloads []*slot
		for range 6 {
			downloads = append(downloads, acquireNow(t, l, download))
		}
		acquireNow(t, l, exchange).release()
		throttle := acquireNow(t, l, exchange)
		throttle.throttled()
		throttle.release()
		// Six slots are held and four are allowed. One exchange and one upload at a time
		// still proceed.
		one, up := acquireNow(t, l, exchange), acquireNow(t, l, upload)
		assertFull(t, l, exchange)
		assertFull(t, l, upload)
		assertFull(t, l, download)
		one.release()
		assertFull(t, l, upload)
		up.release()
		for _, d := range downloads[:4] {
			d.release()
		}
		assertFull(t, l, download)
		acquireNow(t, l, upload).release()
		acquireNow(t, l, exchange).release()
	})
}

func TestLimiter_Throttling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(8, 0)
		var burst []*slot
		for range 8 {
			burst = append(burst, acquireNow(t, l, exchange))
		}
		for _, s := range burst {
			s.throttled()
			s.release()
		}
		if l.allowed != 4 {
			t.Fatalf("allowed after a burst of 429 = %d, want 4", l.allowed)
		}
		for _, want := range []int{2, 2} {
			s := acquireNow(t, l, exchange)
			s.throttled()
			s.release()
			if l.allowed != want {
				t.Fatalf("allowed after another 429 = %d, want %d", l.allowed, want)
			}
		}
		// The limit grows by one after each round of successful requests: 2+3+4+5+6+7.
		successes := 0
		for ; l.allowed < 8; successes++ {
			s := acquireNow(t, l, exchange)
			s.succeeded()
			s.release()
		}
		if successes != 27 {
			t.Errorf("successes until the full limit = %d, want 27", successes)
		}
		for range 100 {
			s := acquireNow(t, l, exchange)
			s.succeeded()
			s.release()
		}
		if l.allowed != 8 {
			t.Errorf("allowed after more successes = %d, want 8", l.allowed)
		}
	})
}

func TestLimiter_CanceledWaiter(t *testing.T) {
	// The slot is granted to the waiter, and the waiter is canceled, before it notices
	// either. Which happens first is random, so the test runs often enough for both.
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(2, 0)
			one, two := acquireNow(t, l, exchange), acquireNow(t, l, exchange)
			leaving, cancel := context.WithCancelCause(t.Context())
			gone := errors.New("gone")
			var waiting sync.WaitGroup
			waiting.Go(func() {
				s, err := l.acquire(leaving, exchange, nil)
				if err == nil {
					s.release()
				} else if !errors.Is(err, gone) {
					t.Errorf("acquire() of the canceled waiter = %v, want %v", err, gone)
				}
			})
			synctest.Wait() // the canceled waiter is first in the queue
			waiting.Go(func() {
				s, err := l.acquire(t.Context(), exchange, nil)
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
			if l.held != [classes]int{} || len(l.waiting) != 0 {
				t.Errorf("held = %v, waiting = %d, want none", l.held, len(l.waiting))
			}
		})
	}
}

func TestLimiter_Stress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 5
		l := newLimiter(limit, 0)
		var mu sync.Mutex
		held, downloads, uploads, peak := 0, 0, 0, 0
		count := func(c requestClass, by int) {
			mu.Lock()
			defer mu.Unlock()
			held += by
			switch c {
			case download:
				downloads += by
			case upload:
				uploads += by
			}
			peak = max(peak, held)
			if held > limit || downloads > limit-2 || uploads > limit-1 {
				t.Errorf("held = %d with %d downloads and %d uploads, which exceeds the limits", held, downloads, uploads)
			}
		}
		var all sync.WaitGroup
		for i := range 200 {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(2000))*time.Millisecond)
				defer cancel()
				c := requestClass(random.IntN(classes))
				s, err := l.acquire(ctx, c, testTransfer(c))
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
			t.Errorf("peak = %d, want %d", peak, limit)
		}
		if l.held != [classes]int{} || len(l.waiting) != 0 {
			t.Errorf("held = %v, waiting = %d, want none", l.held, len(l.waiting))
		}
	})
}

// acquireFor acquires a slot for the given flow.
func acquireFor(t *testing.T, l *limiter, flow string, c requestClass, x *transfer) *slot {
	t.Helper()
	s, err := l.acquire(registry.WithFlow(t.Context(), flow), c, x)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLimiter_FlowShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(16, 0)
		ctx := registry.WithFlow(t.Context(), "one")
		for range 12 {
			if _, err := l.acquire(ctx, upload, &transfer{}); err != nil {
				t.Fatal(err)
			}
		}
		waiting, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if _, err := l.acquire(waiting, upload, &transfer{}); err == nil {
			t.Error("acquire() of a flow with 12 of 16 slots succeeded, want it to wait")
		}
		acquireFor(t, l, "another", upload, &transfer{})
	})
}

func TestLimiter_SlowFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(2, 0)
		held := acquireFor(t, l, "holder", upload, &transfer{})
		var order []string
		for _, w := range []struct {
			flow string
			slow bool
		}{{"slow", true}, {"fast", false}} {
			go func() {
				s, err := l.acquire(registry.WithFlow(t.Context(), w.flow), upload, &transfer{slow: w.slow})
				if err != nil {
					return
				}
				order = append(order, w.flow)
				_ = sleep(t.Context(), time.Second)
				s.release()
			}()
			synctest.Wait()
		}
		held.release()
		_ = sleep(t.Context(), 5*time.Second)
		if len(order) != 2 || order[0] != "fast" {
			t.Errorf("slots were granted to %v, want fast before slow", order)
		}
	})
}

func TestLimiter_BusyError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(2, 0)
		acquireFor(t, l, "the copy of a to b", upload, &transfer{})
		ctx, cancel := context.WithTimeout(registry.WithFlow(t.Context(), "another"), time.Second)
		defer cancel()
		_, err := l.acquire(ctx, upload, &transfer{})
		busy, ok := err.(*registry.BusyError) //nolint:errorlint // the error itself, not wrapped
		if !ok || busy.Holder != "the copy of a to b" || busy.Took != time.Second {
			t.Errorf("acquire() error = %#v, want a BusyError that names the holder", err)
		}
	})
}
