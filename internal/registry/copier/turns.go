package copier

import (
	"context"
	"sync"
)

// turns lets one at a time, of all copies of the process, do something about a
// thing.
type turns struct {
	mu    sync.Mutex
	taken map[string]chan struct{} // closed when it is over
}

// The things that are no tag: what is held in memory at a time.
const (
	// aLargeManifest is one from largeManifest on, until it was read and parsed.
	aLargeManifest = "a large manifest"
	// manyManifests are those of one copy, from ordinaryManifests on, until it
	// ends.
	manyManifests = "many manifests"
)

// take waits for its turn and returns what ends it, or the context's error.
func (t *turns) take(ctx context.Context, thing string) (done func(), err error) {
	for {
		t.mu.Lock()
		busy, taken := t.taken[thing]
		if !taken {
			break
		}
		t.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	defer t.mu.Unlock()
	if t.taken == nil {
		t.taken = map[string]chan struct{}{}
	}
	mine := make(chan struct{})
	t.taken[thing] = mine
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.taken, thing)
		close(mine)
	}, nil
}
