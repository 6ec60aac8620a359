package copier

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sleep waits for d of the virtual time of a synctest bubble.
func sleep(d time.Duration) { <-time.After(d) }

// slowReader is content of which each read takes a fixed time.
type slowReader struct {
	io.Reader
	delay time.Duration
	fast  int // number of initial reads that take only 10 ms
}

func (p *slowReader) Read(b []byte) (int, error) {
	if p.fast--; p.fast < 0 {
		sleep(p.delay)
	} else {
		sleep(10 * time.Millisecond)
	}
	return p.Reader.Read(b[:min(len(b), 4<<10)])
}

func (*slowReader) Close() error { return nil }

// leaseCase is an upload that another copy waits for.
type leaseCase struct {
	source      time.Duration // how long the source takes for each 4 KiB
	destination time.Duration // how long the destination takes for each 4 KiB
	commit      time.Duration // how long the destination takes after the last byte
	slot        time.Duration // how long the upload waits for a request slot
	secondStart time.Duration // when the second copy needs the blob
	fast        int           // number of initial reads of the source that are fast
	wantLease   bool          // whether the second copy gets a lease
}

// fastFor returns how long the source is fast.
func (c leaseCase) fastFor() time.Duration { return time.Duration(c.fast)*10*time.Millisecond + c.slot }

// TestLease_SlowSource verifies that a copy uploads a blob itself if another copy reads it from
// a slow source. A slow destination does not count, because both copies use it.
func TestLease_SlowSource(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]leaseCase{
		"fast_at_first":                 {source: time.Second, fast: 1000, wantLease: true},
		"slow_source":                   {source: time.Second, wantLease: true},
		"fast":                          {source: 10 * time.Millisecond},
		"slow_destination":              {source: 50 * time.Millisecond, destination: time.Second},
		"slow_commit":                   {source: 50 * time.Millisecond, commit: time.Minute},
		"slow_commit_after_slow_source": {source: time.Second, commit: time.Minute, secondStart: 17 * time.Second},
		"waits_for_slot":                {source: 10 * time.Millisecond, slot: time.Minute, wantLease: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				table := newBlobTable()
				request := blobRequest{blobKey: blobKey{host: "d.example", digest: "sha256:1"}, name: "d.example/app", source: "a.example"}
				first, err := table.lease(t.Context(), request)
				if err != nil || first == nil {
					t.Fatalf("lease() = %v, %v", first, err)
				}
				var upload sync.WaitGroup
				upload.Go(func() {
					defer first.end(true)
					content, err := first.countReads(func(context.Context) (io.ReadCloser, error) {
						return &slowReader{bytes.NewReader(make([]byte, c.fast*4<<10+64<<10)), c.source, c.fast}, nil
					})(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					sleep(c.slot)
					first.sending.Start()
					defer first.sending.Stop()
					for err == nil {
						sleep(c.destination)
						_, err = content.Read(make([]byte, 4<<10))
					}
					sleep(c.commit)
				})
				sleep(c.secondStart)
				request.source = "b.example"
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				start := time.Now()
				second, err := table.lease(ctx, request)
				if waited := time.Since(start); c.wantLease && waited > c.fastFor()+2*sharedWindow {
					t.Errorf("lease() waited for %s", waited)
				}
				if err != nil || (second != nil) != c.wantLease {
					t.Errorf("lease() of another source = %v, %v, want a lease: %t", second, err, c.wantLease)
				}
				upload.Wait()
			})
		})
	}
}
