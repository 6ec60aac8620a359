package remote

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// newTransfer returns a transfer, and a channel that is closed when the transfer is
// evicted.
func newTransfer() (*transfer, <-chan struct{}) {
	evicted := make(chan struct{})
	return &transfer{evict: func() { close(evicted) }}, evicted
}

func TestLimiter_Eviction(t *testing.T) {
	for name, c := range map[string]struct {
		class  requestClass
		moves  time.Duration // how often a chunk of 64 KiB moves; 0 means never
		blocks bool
		after  time.Duration // when the transfer is evicted; 0 means not within a minute
	}{
		"blocked_download":  {download, 0, true, evictionInterval},
		"blocked_upload":    {upload, 0, true, evictionInterval},
		"trickling_upload":  {upload, 2 * time.Second, true, 3 * evictionInterval},
		"fast_upload":       {upload, 50 * time.Millisecond, true, 0},
		"lingering_upload":  {upload, 700 * time.Millisecond, true, uploadTurn / 3},
		"slow_host_itself":  {upload, 0, false, 0},
		"download_in_reads": {download, 0, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(2, 0)
				x, evicted := newTransfer()
				first := acquireFor(t, l, "one", c.class, x)
				defer first.release()
				if c.blocks {
					x.block()
				}
				if c.moves > 0 {
					stop := make(chan struct{})
					defer close(stop)
					go func() {
						for {
							select {
							case <-time.After(c.moves):
								x.unblock(64 << 10)
								x.block()
							case <-stop:
								return
							}
						}
					}()
				}
				ctx, cancel := context.WithTimeout(registry.WithFlow(t.Context(), "another"), time.Minute)
				defer cancel()
				began := time.Now()
				go func() {
					if s, err := l.acquire(ctx, download, &transfer{}); err == nil {
						s.release()
					}
				}()
				select {
				case <-evicted:
					if got := time.Since(began); c.after == 0 || got > c.after+2*time.Second {
						t.Errorf("the transfer was evicted after %s, want %s (0: never)", got, c.after)
					}
				case <-ctx.Done():
					if c.after != 0 {
						t.Errorf("the transfer kept its slot for a minute, want it evicted after %s", c.after)
					}
				}
			})
		})
	}
}

// A blocked upload keeps its slot longer after each eviction if only slow flows are
// waiting.
func TestLimiter_BlockedUploadTurn(t *testing.T) {
	for name, c := range map[string]struct {
		evictions int
		want      time.Duration
	}{
		"first": {0, 30 * time.Second},
		"third": {2, 2 * time.Minute},
		"many":  {100, 64 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(2, 0)
				blocked, evicted := newTransfer()
				blocked.slow, blocked.evictions = true, c.evictions
				held := acquireFor(t, l, "one", upload, blocked)
				blocked.block()
				began := time.Now()
				waiting := make(chan error, 1)
				go func() {
					s, err := l.acquire(registry.WithFlow(t.Context(), "another"), upload, &transfer{slow: true})
					if err == nil {
						s.release()
					}
					waiting <- err
				}()
				<-evicted
				if took := time.Since(began); took < c.want || took > c.want+time.Second {
					t.Errorf("the upload was evicted after %s, want %s", took, c.want)
				}
				held.release()
				if err := <-waiting; err != nil {
					t.Errorf("acquire() error = %v", err)
				}
			})
		})
	}
}
