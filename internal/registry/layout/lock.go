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
	// lockAcquired means that the lock is held until the file is closed.
	lockAcquired lockState = iota
	// lockBusy means that another open file, of this process or another, has the lock.
	lockBusy
	// lockUnsupported means that the platform or the file system does not support locks.
	lockUnsupported
)

// folderLocks maps the path of each folder that this process locks to a chan struct{} of
// capacity 1. Several layouts may be open for one folder.
var folderLocks sync.Map

const (
	// lockPoll is the interval between attempts to lock a folder that another process has
	// locked. No system call waits for a lock until a context ends.
	lockPoll = 20 * time.Millisecond
	// lockNotice is how long the layout waits for a lock before it logs that it waits.
	lockNotice = time.Second
)

// The possible holders of a lock, as named in logs and errors.
const (
	holderCopy    = "another copy of this process"
	holderProcess = "another process"
)

// withFolderLock runs f while it holds the lock of a folder. The lock excludes other callers in
// this process and, if the file system supports locks, other processes. It returns the error of
// f, or the reason why the lock was not acquired.
func (l *Layout) withFolderLock(ctx context.Context, dir string, f func() error) error {
	w := &lockWait{layout: l, dir: dir, began: time.Now(), notice: time.NewTimer(lockNotice)}
	defer w.notice.Stop()
	value, _ := folderLocks.LoadOrStore(dir, make(chan struct{}, 1))
	slot, _ := value.(chan struct{})
	if err := w.acquireSlot(ctx, slot); err != nil {
		return err
	}
	defer func() { <-slot }()
	file, err := os.Open(dir) //nolint:gosec // the user chose the folder
	if err != nil {
		return err
	}
	defer file.Close() // releases the lock
	if err := w.lock(ctx, file); err != nil {
		return err
	}
	w.traceWait(ctx)
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

// acquireSlot waits for the lock of the folder within this process.
func (w *lockWait) acquireSlot(ctx context.Context, slot chan<- struct{}) error {
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
			return w.contextError(ctx, holderCopy)
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
			return w.contextError(ctx, holderProcess)
		}
	}
	return nil
}

func (w *lockWait) log(ctx context.Context, holder string) {
	w.layout.log.DebugContext(ctx, "waiting for the lock of an image layout", "layout", w.layout.Name(), "path", w.dir, "held_by", holder)
}

// traceWait reports the wait, if there was one, to the trace of the operation.
func (w *lockWait) traceWait(ctx context.Context) {
	if w.waited {
		registry.TraceOf(ctx).Wait(registry.Wait{For: registry.WaitLock, Took: time.Since(w.began)})
	}
}

// contextError returns the error of a wait whose context ended.
func (w *lockWait) contextError(ctx context.Context, holder string) error {
	w.traceWait(ctx)
	return &registry.Error{Kind: registry.ErrUnavailable, Err: context.Cause(ctx),
		Message: fmt.Sprintf("it waited for the lock of %s, which is held by %s", registry.Sanitize(w.dir), holder),
		Hint:    "Wait until the program that writes to this image layout is done, or end it, and run it again. A lock ends with the process that holds it."}
}
