package copier

import (
	"context"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// keyedMutex serializes work by key across all copies of a Copier.
type keyedMutex struct {
	mu      sync.Mutex
	holders map[lockKey]lockHolder
}

// lockKey identifies the list of referrers of a subject in a repository.
type lockKey struct {
	repository string
	subject    digest.Digest
}

// lockHolder is a copy that has locked a key. unlocked is closed when it unlocks the key.
type lockHolder struct {
	copy     string
	unlocked chan struct{}
}

// lock waits until key is unlocked, locks it, and returns a function that unlocks it. If the
// context ends first, the error is a *registry.BusyError.
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
	own := lockHolder{copy: registry.FlowOf(ctx).String(), unlocked: make(chan struct{})}
	m.holders[key] = own
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.holders, key)
		close(own.unlocked)
	}, nil
}
