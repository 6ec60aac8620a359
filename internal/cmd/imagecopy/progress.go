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
	// progressInterval is the interval at which progress is drawn.
	progressInterval = 200 * time.Millisecond
	// clearLine moves to the start of a terminal's line and clears it.
	clearLine = "\r\x1b[K"
)

// showProgress draws a line on a terminal repeatedly, until the returned function is called,
// which clears the line.
func showProgress(w io.Writer, line func() string) (stop func()) {
	ended := make(chan struct{})
	var printer sync.WaitGroup
	printer.Go(func() {
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				fmt.Fprint(w, clearLine+line())
			case <-ended:
				fmt.Fprint(w, clearLine)
				return
			}
		}
	})
	return func() {
		close(ended)
		printer.Wait()
	}
}

// progressLine returns the progress of the copies after the given time: bytes, rate, and the
// remaining time at that rate.
func progressLine(p copier.Progress, elapsed time.Duration) string {
	rate := float64(p.Done) / max(elapsed.Seconds(), 0.001)
	line := fmt.Sprintf("%s of %s, %s/s", formatBytes(p.Done), formatBytes(p.Known), formatBytes(int64(rate)))
	// An estimate of more than a day is omitted. It occurs at the start, or if a declared size
	// is unrealistic.
	if left := float64(p.Known-p.Done) / max(rate, 1); left > 0 && left < 24*60*60 {
		line += fmt.Sprintf(", %s left", time.Duration(math.Ceil(left))*time.Second)
	}
	return line
}

// summary returns the line that replaces the progress at the end.
func summary(results []result, elapsed time.Duration) string {
	var copied, mounted, present int64
	for _, r := range results {
		copied += r.report.Copied.Bytes
		mounted += r.report.Mounted.Bytes
		present += r.report.Present.Bytes
	}
	return fmt.Sprintf("%s copied, %s mounted, %s already there, in %s",
		formatBytes(copied), formatBytes(mounted), formatBytes(present), elapsed.Round(10*time.Millisecond))
}

// formatBytes returns a number of bytes with a unit.
func formatBytes(n int64) string {
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
