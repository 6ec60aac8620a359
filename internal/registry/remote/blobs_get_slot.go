package remote

import (
	"context"
	"io"
)

// enter begins a read. A parked download waits for a slot and continues where it
// stopped.
func (b *blobReader) beginRead() error {
	if b.transfer != nil && b.ctx.Err() != nil {
		return context.Cause(b.ctx) // which the registry has not caused
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

// leave ends a read that gave n bytes, and releases the slot if they were the last.
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

// evict releases the slot to another flow, after the read in progress if there is
// one. Nothing is lost: the next read continues where the last one stopped. A request
// without a response is ended, and sent again in another slot.
func (b *blobReader) evict() {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed || b.parked:
	case b.abort != nil:
		b.abort(errEvicted)
	case b.reading:
		b.parkPending = true
	default:
		b.park()
	}
}

// park closes the connection and releases the slot. Called with mu held.
func (b *blobReader) park() {
	b.parked, b.parkPending = true, false
	b.transfer.resumed.Store(true)
	_ = b.body.Close()
	b.slot.release()
}

// hold returns the holder of a slot of the download.
func (b *blobReader) holdSlot(s *slot) *heldSlot {
	held := hold(s)
	if b.queues != nil {
		held.queue = &b.queues.download
	}
	return held
}

// setAbort sets what ends the request that is waited for, nil if there is none.
func (b *blobReader) setAbort(abort context.CancelCauseFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.abort = abort
}

// takeSlot waits for a slot if dropSlot released the one that the reader had.
func (b *blobReader) takeSlot() error {
	if !b.dropped {
		return nil
	}
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

// dropSlot releases the slot, unless it is that of another reader.
func (b *blobReader) dropSlot() {
	if b.transfer == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slot.release()
	b.dropped = true
}
