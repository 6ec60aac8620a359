package layout

import (
	"context"
	"os"
	"sync"
	"time"
)

// changing has a slot for each folder whose index this process changes: many
// layouts may be opened in one folder.
var changing sync.Map

// lockPoll is how often it is tried to be the one who changes an index, while
// another process does: the systems have no way to wait for it that ends.
const lockPoll = 20 * time.Millisecond

// exclusively runs f while nobody else of this process changes what is in a
// folder, and no other process that asks, where the system can tell. The error is
// f's, the context's, or that the folder cannot be opened.
func exclusively(ctx context.Context, dir string, f func() error) error {
	value, _ := changing.LoadOrStore(dir, make(chan struct{}, 1))
	slot, _ := value.(chan struct{})
	select {
	case slot <- struct{}{}:
		defer func() { <-slot }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	file, err := os.Open(dir) //nolint:gosec // the folder that somebody named
	if err != nil {
		return err
	}
	defer file.Close() // which ends the lock
	for !locked(file) {
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return f()
}
