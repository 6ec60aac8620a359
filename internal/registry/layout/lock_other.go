//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package layout

import "os"

// tryLock reports that files cannot be locked on this platform.
func tryLock(*os.File) lockState { return lockUnsupported }

// syncFolder does nothing, because a folder cannot be synced on this platform.
func syncFolder(*os.File) error { return nil }
