//go:build unix

package main

import (
	"os"
	"runtime"
	"syscall"
)

// peakMemory is the peak memory of the largest of a process that has ended and
// those that it waited for, in bytes.
func peakMemory(state *os.ProcessState) int64 {
	peak := int64(state.SysUsage().(*syscall.Rusage).Maxrss) //nolint:unconvert // it has 32 bits on some machines
	if runtime.GOOS == "darwin" {
		return peak
	}
	return peak << 10 // others count in KiB
}
