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

// pass waits in the time of a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

// paced is content of which each read takes a time.
type paced struct {
	io.Reader
	each time.Duration
	fast int // how many reads take none of it
}

func (p *paced) Read(b []byte) (int, error) {
	if p.fast--; p.fast < 0 {
		pass(p.each)
	} else {
		pass(10 * time.Millisecond)
	}
	return p.Reader.Read(b[:min(len(b), 4<<10)])
}

func (*paced) Close() error { return nil }

// leaseCase is an upload that another copy waits for.
type leaseCase struct {
	source      time.Duration // how long each 4 KiB take to be read
	destination time.Duration // how long the destination takes for each 4 KiB
	commit      time.Duration // how long it takes after the last byte
	slot        time.Duration // how long the upload waits for a slot
	arrives     time.Duration // when the second copy needs the blob
	fast        int           // how many reads of the source are fast
	taken       bool
}

// fastFor returns how long the source is fast.
func (c leaseCase) fastFor() time.Duration { return time.Duration(c.fast)*10*time.Millisecond + c.slot }

// A copy takes over the upload of another source only if that source is slow, not if
// the destination of both is.
func TestLease_SlowSource(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]leaseCase{
		"fast_at_first":                 {source: time.Second, fast: 1000, taken: true},
		"slow_source":                   {source: time.Second, taken: true},
		"fast":                          {source: 10 * time.Millisecond},
		"slow_destination":              {source: 50 * time.Millisecond, destination: time.Second},
		"slow_commit":                   {source: 50 * time.Millisecond, commit: time.Minute},
		"slow_commit_after_slow_source": {source: time.Second, commit: time.Minute, arrives: 17 * time.Second},
		"waits_for_a_slot":              {source: 10 * time.Millisecond, slot: time.Minute, taken: true},
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
						return &paced{bytes.NewReader(make([]byte, c.fast*4<<10+64<<10)), c.source, c.fast}, nil
					})(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					pass(c.slot)
					first.sending.Start()
					defer first.sending.Stop()
					for err == nil {
						pass(c.destination)
						_, err = content.Read(make([]byte, 4<<10))
					}
					pass(c.commit)
				})
				pass(c.arrives)
				request.source = "b.example"
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				began := time.Now()
				second, err := table.lease(ctx, request)
				if waited := time.Since(began); c.taken && waited > c.fastFor()+2*sharedWindow {
					t.Errorf("lease() waited for %s", waited)
				}
				if err != nil || (second != nil) != c.taken {
					t.Errorf("lease() of another source = %v, %v, want one: %t", second, err, c.taken)
				}
				upload.Wait()
			})
		})
	}
}
