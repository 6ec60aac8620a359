package remote

import (
	"context"
	"io"
)

// beginRead prepares a Read. If the download is parked, it waits for a slot and resumes at
// the current offset.
func (b *blobReader) beginRead() error {
	if b.transfer != nil && b.ctx.Err() != nil {
		return context.Cause(b.ctx) // not caused by the registry
	}
	b.mu.Lock()
	parked := b.parked
	b.reading = true
	b.mu.Unlock()
	b.transfer.unblock(0)
	if !parked {
		return nil
	}
	b.queues.download.Start()
	s, err := b.repository.host.limiter.acquire(b.ctx, download, b.transfer)
	b.queues.download.Stop()
	if err != nil {
		return b.repository.wrapRequest(b.request(), err)
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		s.release()
		return io.ErrClosedPipe
	}
	b.slot, b.parked, b.dropped = b.holdSlot(s), false, false
	b.mu.Unlock()
	b.probe = b.newSpeedProbe()
	return b.open()
}

// endRead ends a Read that returned n bytes. It releases the slot after the last bytes or
// if an eviction is pending.
func (b *blobReader) endRead(n int, ended bool) {
	if b.transfer == nil {
		return
	}
	b.transfer.unblock(n)
	b.transfer.block()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	switch {
	case b.closed:
	case ended:
		b.transfer.finish()
		_ = b.body.Close()
		b.slot.release()
	case b.parkPending:
		b.park()
	}
}

// evict releases the slot to another flow, after the current read if there is one. No data
// is lost: the next read resumes at the current offset. A request without a response is
// canceled and sent again in another slot.
func (b *blobReader) evict() {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed || b.parked:
	case b.abort != nil:
		b.abort(errEvicted)
	case b.reading:
		b.parkPending = true
		if parallel, ok := b.body.(*parallelBody); ok {
			parallel.parts.cancel() // a read may wait for a part that never arrives
		}
	default:
		b.park()
	}
}

// park closes the connection and releases the slot. b.mu must be held.
func (b *blobReader) park() {
	b.parked, b.parkPending = true, false
	_ = b.body.Close()
	b.slot.release()
}

// holdSlot returns a heldSlot that owns s and records its queueing time for the download.
func (b *blobReader) holdSlot(s *slot) *heldSlot {
	held := hold(s)
	if b.queues != nil {
		held.queue = &b.queues.download
	}
	return held
}

// setAbort sets the function that cancels the pending request, or nil if there is none.
func (b *blobReader) setAbort(abort context.CancelCauseFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.abort = abort
}

// takeSlot waits for a slot if dropSlot released the previous one.
func (b *blobReader) takeSlot() error {
	if !b.dropped {
		return nil
	}
	b.queues.download.Start()
	defer b.queues.download.Stop()
	s, err := b.repository.host.limiter.acquire(b.ctx, download, b.transfer)
	if err != nil {
		return b.repository.wrapRequest(b.request(), err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		s.release()
		return io.ErrClosedPipe
	}
	b.slot, b.dropped = b.holdSlot(s), false
	return nil
}

// dropSlot releases the slot unless another reader owns it.
func (b *blobReader) dropSlot() {
	if b.transfer == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slot.release()
	b.dropped = true
}

// isParkPending reports whether another flow waits for the slot.
func (b *blobReader) isParkPending() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.parkPending
}
