package remote

import (
	"context"
	"errors"
	"net/url"
	"sync"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// heldSlot is the slot of a request. A redirect to another registry moves it to the limiter
// of that registry, so that the limit of a host applies to every request that reaches it.
type heldSlot struct {
	class    requestClass
	transfer *transfer
	queue    *registry.Stopwatch // runs while move waits; may be nil
	fixed    bool                // move returns errFixedSlot instead of waiting

	mu       sync.Mutex
	limiter  *limiter // limiter of the last slot
	slot     *slot    // nil while move waits
	released bool
}

// errFixedSlot is the error of a request for a part of a blob that is redirected to another
// registry. The download that reads the parts may hold a slot of that registry, so a part
// must not wait for one.
var errFixedSlot = permanent{errors.New("a part of the blob was redirected to another registry")}

// hold returns a heldSlot that owns s.
func hold(s *slot) *heldSlot {
	return &heldSlot{class: s.class, transfer: s.transfer, limiter: s.limiter, slot: s}
}

// move exchanges the slot for one of l. It releases the old slot before it waits for the
// new one, so that requests that move in opposite directions never wait for each other. It
// returns the error of acquire, or errFixedSlot.
func (h *heldSlot) move(ctx context.Context, l *limiter) error {
	h.mu.Lock()
	if h.released || h.slot != nil && h.limiter == l {
		h.mu.Unlock()
		return nil
	}
	if h.fixed {
		h.mu.Unlock()
		return errFixedSlot
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

// waitRate waits until the rate limit of the slot's host allows one more request.
func (h *heldSlot) waitRate(ctx context.Context) error {
	h.mu.Lock()
	l := h.limiter
	h.mu.Unlock()
	return l.waitRate(ctx)
}

// answered adjusts the limit of the slot's host to the status of a response.
func (h *heldSlot) answered(status int) {
	h.mu.Lock()
	s := h.slot
	h.mu.Unlock()
	if s != nil {
		s.answered(status)
	}
}

// release releases the slot. Further calls have no effect.
func (h *heldSlot) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.released = true
	if h.slot != nil {
		h.slot.release()
		h.slot = nil
	}
}

// hostAt returns the host of u if it is a registry, and fallback otherwise. A host is a
// registry if the process uses it as one or if it is configured.
func (c *Client) hostAt(u *url.URL, fallback *host) *host {
	if fallback.isOrigin(u) {
		return fallback
	}
	if name, _ := c.settingsOf(u); name != "" {
		if h := c.hostOf(name); h.isOrigin(u) {
			return h
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	found := fallback
	for _, h := range c.hosts {
		if h.isOrigin(u) && (found == fallback || h.name < found.name) {
			found = h
		}
	}
	return found
}
