package layout

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// lockState is the result of an attempt to lock an open file.
type lockState int

const (
	// lockAcquired: the lock is held until the file is closed.
	lockAcquired lockState = iota
	// lockBusy: another open file, of this process or another, holds the lock.
	lockBusy
	// lockUnsupported: the platform or the file system has no locks.
	lockUnsupported
)

// folderLocks has a chan struct{} of capacity 1 for each folder that this process
// locks: several layouts may be open in one folder.
var folderLocks sync.Map

const (
	// lockPoll is the time between two attempts to lock a folder that another
	// process has locked: no system call waits for a lock until a context ends.
	lockPoll = 20 * time.Millisecond
	// lockNotice is how long a lock is waited for until that is logged.
	lockNotice = time.Second
)

// The holders of a lock that is waited for.
const (
	holderCopy    = "another copy of this process"
	holderProcess = "another process"
)

// exclusively runs f while it holds the lock of a folder, against the other callers
// in this process and, if the file system supports locks, against other processes.
// The error is that of f, or why the lock was not acquired.
func (l *Layout) exclusively(ctx context.Context, dir string, f func() error) error {
	w := &lockWait{layout: l, dir: dir, began: time.Now(), notice: time.NewTimer(lockNotice)}
	defer w.notice.Stop()
	value, _ := folderLocks.LoadOrStore(dir, make(chan struct{}, 1))
	slot, _ := value.(chan struct{})
	if err := w.take(ctx, slot); err != nil {
		return err
	}
	defer func() { <-slot }()
	file, err := os.Open(dir) //nolint:gosec // the folder that the user named
	if err != nil {
		return err
	}
	defer file.Close() // which ends the lock
	if err := w.lock(ctx, file); err != nil {
		return err
	}
	w.over(ctx)
	return f()
}

// lockWait is one attempt to lock a folder.
type lockWait struct {
	layout *Layout
	dir    string
	began  time.Time
	notice *time.Timer
	waited bool
}

// take waits for the slot of the folder in this process.
func (w *lockWait) take(ctx context.Context, slot chan<- struct{}) error {
	select {
	case slot <- struct{}{}:
		return nil
	default:
		w.waited = true
	}
	for {
		select {
		case slot <- struct{}{}:
			return nil
		case <-w.notice.C:
			w.log(ctx, holderCopy)
		case <-ctx.Done():
			return w.ended(ctx, holderCopy)
		}
	}
}

// lock locks the folder against other processes.
func (w *lockWait) lock(ctx context.Context, folder *os.File) error {
	for tryLock(folder) == lockBusy {
		w.waited = true
		select {
		case <-time.After(lockPoll):
		case <-w.notice.C:
			w.log(ctx, holderProcess)
		case <-ctx.Done():
			return w.ended(ctx, holderProcess)
		}
	}
	return nil
}

func (w *lockWait) log(ctx context.Context, holder string) {
	w.layout.log.DebugContext(ctx, "waiting for the lock of an image layout", "layout", w.layout.Name(), "path", w.dir, "held_by", holder)
}

// over reports a wait that is over to the trace of the operation.
func (w *lockWait) over(ctx context.Context) {
	if w.waited {
		registry.TraceOf(ctx).Wait(registry.Wait{For: registry.WaitLock, Took: time.Since(w.began)})
	}
}

// ended returns the error of a wait whose context ended.
func (w *lockWait) ended(ctx context.Context, holder string) error {
	w.over(ctx)
	return &registry.Error{Kind: registry.ErrUnavailable, Err: context.Cause(ctx),
		Message: fmt.Sprintf("it waited for the lock of %s, which is held by %s", registry.Sanitize(w.dir), holder),
		Hint:    "Wait until the program that writes to this image layout is done, or end it, and run it again. A lock ends with the process that holds it."}
}
