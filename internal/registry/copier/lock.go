package copier

import (
	"context"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// keyedMutex lets one copy at a time of a Copier work on a key.
type keyedMutex struct {
	mu      sync.Mutex
	holders map[lockKey]lockHolder
}

// lockKey identifies the list of the referrers of a subject.
type lockKey struct {
	repository string
	subject    digest.Digest
}

type lockHolder struct {
	copy     string
	unlocked chan struct{}
}

// lock waits for the key and returns what unlocks it. The error is a
// *registry.BusyError if the context ends before.
func (m *keyedMutex) lock(ctx context.Context, key lockKey) (unlock func(), err error) {
	began := time.Now()
	for {
		m.mu.Lock()
		holder, locked := m.holders[key]
		if !locked {
			break
		}
		m.mu.Unlock()
		select {
		case <-holder.unlocked:
			registry.RecordWait(ctx, registry.Delay{Reason: registry.WaitList, Holder: holder.copy}, time.Since(began))
		case <-ctx.Done():
			registry.RecordWait(ctx, registry.Delay{Reason: registry.WaitList, Holder: holder.copy}, time.Since(began))
			return nil, &registry.BusyError{For: "the list of the referrers of " + key.subject.String(), Holder: holder.copy, Took: time.Since(began), Err: context.Cause(ctx)}
		}
	}
	defer m.mu.Unlock()
	if m.holders == nil {
		m.holders = map[lockKey]lockHolder{}
	}
	mine := lockHolder{copy: registry.FlowOf(ctx).String(), unlocked: make(chan struct{})}
	m.holders[key] = mine
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.holders, key)
		close(mine.unlocked)
	}, nil
}
