//go:build !unix

package main

import "os"

// peakMemory returns 0, because this platform does not report peak memory.
func peakMemory(*os.ProcessState) int64 { return 0 }
