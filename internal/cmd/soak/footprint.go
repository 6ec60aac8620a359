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
	// heapAllowance is how much the heap may grow during the soak. The standard library and
	// distribution keep some memory that they allocate once, and the engine keeps what it knows
	// about hosts and blobs.
	heapAllowance = 4 << 20
	// goroutineAllowance is how many goroutines may remain. Distribution never ends the
	// goroutine that notifies listeners of registry events.
	goroutineAllowance = 2
	// goroutinesEnd limits how long goroutines may take to end after the registries are closed.
	goroutinesEnd = 10 * time.Second
)

// footprint is the memory and the goroutines that the process uses.
type footprint struct {
	heap       uint64 // bytes in use
	goroutines int
}

// restingFootprint returns the footprint after garbage collection. The second collection also
// empties pools.
func restingFootprint() footprint {
	runtime.GC()
	runtime.GC()
	return footprint{heapInUse(), runtime.NumGoroutine()}
}

// heapInUse returns the bytes of all objects, including garbage that was not collected yet.
func heapInUse() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// exceeded waits until the number of goroutines is back to that of before. It returns the
// current footprint, and descriptions of what exceeds before.
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
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1) // writes to memory and cannot fail
		found = append(found, fmt.Sprintf("there are %d goroutines, and there were %d before:\n%s", now.goroutines, before.goroutines, stacks.String()))
	}
	if now.heap > before.heap+heapAllowance {
		found = append(found, fmt.Sprintf("%s are in use, and %s were before", mib(now.heap), mib(before.heap)))
	}
	return now, found
}

func mib(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
