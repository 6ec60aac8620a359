package main

import (
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
)

const (
	// beat is how often progress is drawn.
	beat = 200 * time.Millisecond
	// emptied goes to the start of a terminal's line and empties it.
	emptied = "\r\x1b[K"
)

// showProgress draws a line on a terminal again and again, until the function
// that it returns is called, which leaves the line empty.
func showProgress(w io.Writer, line func() string) (stop func()) {
	ended := make(chan struct{})
	var drawing sync.WaitGroup
	drawing.Go(func() {
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				fmt.Fprint(w, emptied+line())
			case <-ended:
				fmt.Fprint(w, emptied)
				return
			}
		}
	})
	return func() {
		close(ended)
		drawing.Wait()
	}
}

// progressLine says how far the copies are after a time: bytes, rate, and how
// long the rest takes at that rate.
func progressLine(p copier.Progress, took time.Duration) string {
	rate := float64(p.Done) / max(took.Seconds(), 0.001)
	line := fmt.Sprintf("%s of %s, %s/s", amount(p.Done), amount(p.Known), amount(int64(rate)))
	// More than a day is no forecast: it is the first moment, or a size that
	// nobody has.
	if left := float64(p.Known-p.Done) / max(rate, 1); left > 0 && left < 24*60*60 {
		line += fmt.Sprintf(", %s left", time.Duration(math.Ceil(left))*time.Second)
	}
	return line
}

// summary is what remains to be read of the progress when all is over.
func summary(results []result, took time.Duration) string {
	var copied, mounted, present int64
	for _, r := range results {
		copied += r.report.Copied.Bytes
		mounted += r.report.Mounted.Bytes
		present += r.report.Present.Bytes
	}
	return fmt.Sprintf("%s copied, %s mounted, %s already there, in %s",
		amount(copied), amount(mounted), amount(present), took.Round(10*time.Millisecond))
}

// amount is a number of bytes as people read it.
func amount(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
