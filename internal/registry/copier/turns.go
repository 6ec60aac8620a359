package copier

import (
	"context"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// turns lets one at a time, of all copies of a Copier, do something about a
// thing.
type turns struct {
	mu    sync.Mutex
	taken map[thing]chan struct{} // closed when it is over
}

// thing is what is done one at a time, and where. What is held in memory is so of
// each source, so that a slow one is in nobody else's way.
type thing struct{ what, where string }

// aLargeManifest is one from largeManifest on, until it was read and parsed.
func aLargeManifest(from registry.Repository) thing { return thing{"large", from.Host()} }

// manyManifests are those of one copy, from ordinaryManifests on, until it ends.
func manyManifests(from registry.Repository) thing { return thing{"many", from.Host()} }

// aList is the list of what refers to a subject.
func aList(in registry.Repository, subject digest.Digest) thing {
	return thing{in.Name(), subject.String()}
}

// take waits for its turn and returns what ends it, or the context's error.
func (t *turns) take(ctx context.Context, what thing) (done func(), err error) {
	for {
		t.mu.Lock()
		busy, taken := t.taken[what]
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
		t.taken = map[thing]chan struct{}{}
	}
	mine := make(chan struct{})
	t.taken[what] = mine
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.taken, what)
		close(mine)
	}, nil
}
