package auth

import (
	"context"
	"sync"
)

// singleflight lets concurrent callers with the same key share one call. The zero
// value is ready to use.
type singleflight[K comparable, V any] struct {
	mu    sync.Mutex
	calls map[K]*sharedCall[V]
}

type sharedCall[V any] struct {
	waiters int
	cancel  context.CancelFunc
	done    chan struct{}
	value   V
	err     error
}

// do returns the result of call for key, and joins a call in progress. The shared
// call continues if the caller that started it leaves, and is canceled when the
// last one leaves. A caller whose context ends gets the cause of its context.
func (f *singleflight[K, V]) do(ctx context.Context, key K, call func(context.Context) (V, error)) (V, error) {
	f.mu.Lock()
	shared, ok := f.calls[key]
	if !ok {
		shared = f.start(ctx, key, call)
	}
	shared.waiters++
	f.mu.Unlock()

	select {
	case <-shared.done:
		return shared.value, shared.err
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if shared.waiters--; shared.waiters == 0 {
		shared.cancel()
		f.remove(key, shared)
	}
	var none V
	return none, context.Cause(ctx)
}

// start starts a call. The caller holds mu.
func (f *singleflight[K, V]) start(ctx context.Context, key K, call func(context.Context) (V, error)) *sharedCall[V] {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	started := &sharedCall[V]{cancel: cancel, done: make(chan struct{})}
	if f.calls == nil {
		f.calls = map[K]*sharedCall[V]{}
	}
	f.calls[key] = started
	go func() {
		defer cancel()
		started.value, started.err = call(ctx)
		f.mu.Lock()
		f.remove(key, started)
		f.mu.Unlock()
		close(started.done)
	}()
	return started
}

// remove prevents further callers from joining a call that has ended or is ending.
// It does not remove a later call for the same key. The caller holds mu.
func (f *singleflight[K, V]) remove(key K, ended *sharedCall[V]) {
	if f.calls[key] == ended {
		delete(f.calls, key)
	}
}
