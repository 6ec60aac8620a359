package remote

import (
	"context"
	"net/url"
	"sync"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// heldSlot is the slot of a request. A redirect to another registry moves it to the
// limiter of that registry, so that the concurrency of a host is limited for every
// request that reaches it.
type heldSlot struct {
	class    requestClass
	transfer *transfer
	queue    *registry.Stopwatch // runs while move waits; may be nil

	mu       sync.Mutex
	limiter  *limiter // of the last slot
	slot     *slot    // nil while move waits
	released bool
}

// hold returns the holder of s.
func hold(s *slot) *heldSlot {
	return &heldSlot{class: s.class, transfer: s.transfer, limiter: s.limiter, slot: s}
}

// move exchanges the slot for one of l. It releases the slot before it waits for the
// other one: requests that move in opposite directions never wait for each other.
// The error is that of acquire.
func (h *heldSlot) move(ctx context.Context, l *limiter) error {
	h.mu.Lock()
	if h.released || h.slot != nil && h.limiter == l {
		h.mu.Unlock()
		return nil
	}
	old := h.slot
	h.slot = nil
	h.mu.Unlock()
	if old != nil {
		old.release()
	}
	if h.queue != nil {
		h.queue.Start()
		defer h.queue.Stop()
	}
	s, err := l.acquire(ctx, h.class, h.transfer)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released {
		s.release()
		return nil
	}
	h.limiter, h.slot = l, s
	return nil
}

// waitRate waits until the host that the slot belongs to may get one more request.
func (h *heldSlot) waitRate(ctx context.Context) error {
	h.mu.Lock()
	l := h.limiter
	h.mu.Unlock()
	return l.waitRate(ctx)
}

// answered adapts the limit of the slot's host to the status of a response.
func (h *heldSlot) answered(status int) {
	h.mu.Lock()
	s := h.slot
	h.mu.Unlock()
	if s != nil {
		s.answered(status)
	}
}

// release gives the slot back. Further calls do nothing.
func (h *heldSlot) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.released = true
	if h.slot != nil {
		h.slot.release()
		h.slot = nil
	}
}

// hostAt returns the known registry that a URL is at, or otherwise if there is none.
func (c *Client) hostAt(u *url.URL, otherwise *host) *host {
	if otherwise.isOrigin(u) {
		return otherwise
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	found := otherwise
	for _, h := range c.hosts {
		if h.isOrigin(u) && (found == otherwise || h.name < found.name) {
			found = h
		}
	}
	return found
}
