package main

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"time"
)

const (
	// heapAllowance is what the process may hold more after the soak than before:
	// what the standard library and distribution make once and keep, and what the
	// engine knows of the hosts and blobs that it met.
	heapAllowance = 4 << 20
	// goroutineAllowance is how many goroutines may be left: distribution never
	// ends the one that would tell others of a registry's events.
	goroutineAllowance = 2
	// goroutinesEnd is how long goroutines may take to end once what they serve
	// has ended.
	goroutinesEnd = 10 * time.Second
)

// footprint is what the process holds.
type footprint struct {
	heap       uint64 // bytes that are in use
	goroutines int
}

// restingFootprint is what is held once garbage is collected, pools included.
func restingFootprint() footprint {
	runtime.GC()
	runtime.GC()
	return footprint{heapInUse(), runtime.NumGoroutine()}
}

// heapInUse is how many bytes objects take, those included that are garbage and
// were not collected yet.
func heapInUse() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// exceeded waits for the footprint to be what it was before, and says what is
// more than that.
func (before footprint) exceeded(ctx context.Context) (now footprint, found []string) {
	ctx, stop := context.WithTimeout(ctx, goroutinesEnd)
	defer stop()
	for runtime.NumGoroutine() > before.goroutines+goroutineAllowance && ctx.Err() == nil {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	now = restingFootprint()
	if now.goroutines > before.goroutines+goroutineAllowance {
		var stacks bytes.Buffer
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1) // into memory
		found = append(found, fmt.Sprintf("there are %d goroutines, and there were %d before:\n%s", now.goroutines, before.goroutines, stacks.String()))
	}
	if now.heap > before.heap+heapAllowance {
		found = append(found, fmt.Sprintf("%s are in use, and %s were before", mib(now.heap), mib(before.heap)))
	}
	return now, found
}

func mib(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
