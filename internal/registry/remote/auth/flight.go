package auth

import (
	"context"
	"sync"
)

// singleflight lets concurrent callers who want the same thing share one call. The
// zero value is ready.
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

// do returns what call gives for key, joining a call that is under way. The
// call belongs to nobody: it goes on when the caller who began it leaves, and
// ends when the last one does. A caller whose context ends gets its cause.
func (f *singleflight[K, V]) do(ctx context.Context, key K, call func(context.Context) (V, error)) (V, error) {
	f.mu.Lock()
	own, ok := f.calls[key]
	if !ok {
		own = f.start(ctx, key, call)
	}
	own.waiters++
	f.mu.Unlock()

	select {
	case <-own.done:
		return own.value, own.err
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if own.waiters--; own.waiters == 0 {
		own.cancel()
		f.remove(key, own)
	}
	var none V
	return none, context.Cause(ctx)
}

// start is called with mu held.
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

// remove makes sure that nobody joins a flight that has ended or is ending. A
// later one for the same key stays. It is called with mu held.
func (f *singleflight[K, V]) remove(key K, ended *sharedCall[V]) {
	if f.calls[key] == ended {
		delete(f.calls, key)
	}
}
