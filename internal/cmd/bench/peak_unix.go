//go:build unix

package main

import (
	"os"
	"runtime"
	"syscall"
)

// peakMemory returns the peak memory in bytes of the largest process among an exited process
// and the children that it waited for.
func peakMemory(state *os.ProcessState) int64 {
	peak := int64(state.SysUsage().(*syscall.Rusage).Maxrss) //nolint:unconvert // Maxrss has 32 bits on some platforms
	if runtime.GOOS == "darwin" {
		return peak
	}
	return peak << 10 // other systems report KiB
}
