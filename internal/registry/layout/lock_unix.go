//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package layout

import (
	"errors"
	"os"
	"syscall"
)

// locked takes a folder for this process until file is closed. It says no where
// another one has it. A file system that knows no locks is no reason to refuse.
func locked(file *os.File) bool {
	return !errors.Is(syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
