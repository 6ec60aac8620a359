//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package layout

import (
	"errors"
	"os"
	"syscall"
)

// tryLock tries to lock an open file or folder, without waiting, until it is closed. The lock
// belongs to the open file description, so that it also excludes other callers in this process.
func tryLock(file *os.File) lockState {
	for {
		switch err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			return lockAcquired
		case errors.Is(err, syscall.EWOULDBLOCK):
			return lockBusy
		case !errors.Is(err, syscall.EINTR):
			return lockUnsupported
		}
	}
}

// syncFolder makes the renames in a folder durable. It ignores the errors of file systems that
// cannot sync a folder, because they keep its entries consistent without it.
func syncFolder(folder *os.File) error {
	err := folder.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EBADF) {
		return nil
	}
	return err
}
