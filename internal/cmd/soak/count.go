package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
)

// count counts the events of a soak.
type count struct {
	done, canceled, givenUp atomic.Int64 // copies
	unsure                  atomic.Int64 // tags that a failed copy wrote without receiving the response
	removed                 atomic.Int64 // tags
	sweeps, postponed       atomic.Int64

	mu                       sync.Mutex
	failures                 map[string]int // failed attempts by the kind of their error
	copied, mounted, present copier.Count
	retries                  int
	attached                 int    // referrers found at the destination after a copy with referrers
	peak                     uint64 // maximum heap size in bytes
}

// attempt counts the results of an attempt.
func (c *count) attempt(r copier.Report) {
	heap := heapInUse()
	c.mu.Lock()
	defer c.mu.Unlock()
	add(&c.copied, r.Copied)
	add(&c.mounted, r.Mounted)
	add(&c.present, r.Present)
	c.retries += r.Retries
	c.attached += len(r.Referrers)
	c.peak = max(c.peak, heap)
}

func add(to *copier.Count, n copier.Count) {
	to.Blobs += n.Blobs
	to.Bytes += n.Bytes
}

// failed counts a failed attempt.
func (c *count) failed(err error) {
	kind := "of no kind"
	if e, ok := errors.AsType[*registry.Error](err); ok {
		kind = fmt.Sprintf("%v at the %s", e.Kind, cmp.Or(e.Side, "engine"))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures == nil {
		c.failures = map[string]int{}
	}
	c.failures[kind]++
}

// failedAttempts returns the number of failed attempts, and a description of their kinds.
func (c *count) failedAttempts() (n int, kinds string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(c.failures)) {
		n += c.failures[kind]
		parts = append(parts, fmt.Sprintf("%d × %s", c.failures[kind], kind))
	}
	return n, strings.Join(parts, ", ")
}

// progressLine returns the progress of the soak in one line.
func (s *soak) progressLine() string {
	failed, _ := s.count.failedAttempts()
	return fmt.Sprintf("%6s  copies: %d done, %d attempts failed, %d canceled, %d given up; %d cuts, %d stalls, %d sweeps, %d tokens; %s, %d goroutines",
		time.Since(s.began).Round(time.Second), s.count.done.Load(), failed, s.count.canceled.Load(), s.count.givenUp.Load(),
		s.faults.cuts.Load(), s.faults.stalls.Load(), s.count.sweeps.Load(), s.issued(), mib(heapInUse()), runtime.NumGoroutine())
}

// summary returns all counts of the soak.
func (s *soak) summary() string {
	failed, kinds := s.count.failedAttempts()
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("copies", "%d done, %d canceled, %d given up after %d attempts", s.count.done.Load(), s.count.canceled.Load(), s.count.givenUp.Load(), maxAttempts)
	row("failures", "%d attempts: %s", failed, cmp.Or(kinds, "none"))
	row("tags", "%d removed, %d written by copies that failed (unreported)", s.count.removed.Load(), s.count.unsure.Load())
	row("blobs", "%s copied, %s mounted, %s already there; %d retried requests", blobs(s.count.copied), blobs(s.count.mounted), blobs(s.count.present), s.count.retries)
	row("referrers", "%d copied or found", s.count.attached)
	row("connections", "%d, of which %d were cut, %d after a stall; %d delays", s.faults.connections.Load(), s.faults.cuts.Load(), s.faults.stalls.Load(), s.faults.delays.Load())
	row("tokens", "%d issued, %d requests with an expired token", s.issued(), s.source.tokens.expired.Load()+s.destination.tokens.expired.Load())
	row("sweeps", "%d, and %d postponed because a request took too long", s.count.sweeps.Load(), s.count.postponed.Load())
	row("heap", "at most %s, including the content of the registries", mib(s.count.peak))
	return b.String()
}

// issued returns the number of issued tokens.
func (s *soak) issued() int64 {
	return s.source.tokens.issued.Load() + s.destination.tokens.issued.Load()
}

func blobs(n copier.Count) string { return fmt.Sprintf("%d (%s)", n.Blobs, mib(uint64(n.Bytes))) }

// progressInterval is the interval of progress output.
const progressInterval = 5 * time.Second

// showProgress prints the progress to out repeatedly, until the returned function is called.
func (s *soak) showProgress(out io.Writer) (stop func()) {
	ended := make(chan struct{})
	var printer sync.WaitGroup
	printer.Go(func() {
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				fmt.Fprintln(out, s.progressLine())
			case <-ended:
				return
			}
		}
	})
	return func() {
		close(ended)
		printer.Wait()
	}
}
