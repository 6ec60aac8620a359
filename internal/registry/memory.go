package registry

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Memory bounds the memory that manifests take in a process. Everything is charged
// to a ceiling that all operations share. So that an operation never waits for
// operations on other hosts, the oldest reservation of each source host may exceed
// the ceiling: by what it keeps, and by one manifest at a time.
//
// A reservation that waits holds nothing that the oldest one of its host needs, so
// that waits end as long as the oldest reservations do.
type Memory struct {
	mu       sync.Mutex
	ceiling  int64
	used     int64
	hosts    map[string][]*Reservation // in the order of their age
	released chan struct{}             // closed by the next release
}

// DefaultManifestMemory is the ceiling of a process, in bytes.
const DefaultManifestMemory = 16 << 20

// NewMemory returns a Memory with a shared ceiling in bytes.
func NewMemory(ceiling int64) *Memory {
	return &Memory{ceiling: ceiling, hosts: map[string][]*Reservation{}, released: make(chan struct{})}
}

// Reservation is the share of a Memory that one operation holds. It must be
// released.
type Reservation struct {
	memory       *Memory
	host, holder string
	kept         int64
	over         *Charge // the one that may exceed the ceiling
}

// Reserve returns an empty reservation for content of a source host. holder
// describes the operation to others that wait for it.
func (m *Memory) Reserve(host, holder string) *Reservation {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &Reservation{memory: m, host: host, holder: holder}
	m.hosts[host] = append(m.hosts[host], r)
	return r
}

// Keep grows what the operation keeps until it ends to n bytes, if it is less. It
// waits until that fits. The error is a *BusyError if the context ends before.
func (r *Reservation) Keep(ctx context.Context, n int64) error {
	return r.memory.wait(ctx, r, func() bool {
		more := n - r.kept
		switch {
		case more <= 0:
			return true
		case r.memory.used+more > r.memory.ceiling && !r.oldest():
			return false
		}
		r.kept = n
		r.memory.add(more)
		return true
	})
}

// Charge returns a charge of no bytes for one manifest that is read and parsed.
func (r *Reservation) Charge() *Charge { return &Charge{of: r} }

// Release ends the reservation. Its charges must have been released.
func (r *Reservation) Release() {
	m := r.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hosts[r.host] = slices.DeleteFunc(m.hosts[r.host], func(other *Reservation) bool { return other == r })
	if len(m.hosts[r.host]) == 0 {
		delete(m.hosts, r.host)
	}
	m.add(-r.kept)
	m.wake() // another one is the oldest
	r.kept = 0
}

// oldest reports whether the reservation may exceed the ceiling. Called with mu
// held.
func (r *Reservation) oldest() bool { return r.memory.hosts[r.host][0] == r }

// Charge is the memory of one manifest while it is read and parsed.
type Charge struct {
	of    *Reservation
	bytes int64
}

// For grows the charge to what a manifest of size bytes takes, if it is less. It
// waits until that fits. The error is a *BusyError if the context ends before.
func (c *Charge) For(ctx context.Context, size int64) error {
	return c.of.memory.wait(ctx, c.of, func() bool { return c.grow(size) })
}

// TryFor is For without the wait. It reports whether the charge is large enough.
func (c *Charge) TryFor(size int64) bool {
	c.of.memory.mu.Lock()
	defer c.of.memory.mu.Unlock()
	return c.grow(size)
}

// parsing is how many times its size a manifest of small parts may take while it is
// parsed.
const parsing = 16

// grow is For with mu held. It returns false if the charge has to wait.
func (c *Charge) grow(size int64) bool {
	r, more := c.of, parsing*size-c.bytes
	if more <= 0 {
		return true
	}
	if r.memory.used+more > r.memory.ceiling && r.over != c {
		if r.over != nil || !r.oldest() {
			return false
		}
		r.over = c
	}
	r.memory.add(more)
	c.bytes += more
	return true
}

// Keep shrinks the charge to the content of a manifest, size bytes, when it was
// parsed. A charge that is less stays.
func (c *Charge) Keep(size int64) {
	m := c.of.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.bytes <= size {
		return
	}
	m.add(size - c.bytes)
	c.bytes = size
	if c.of.over == c && m.used <= m.ceiling {
		c.of.over = nil
		m.wake()
	}
}

// Release returns what was charged. Further calls do nothing, and neither does a
// nil charge.
func (c *Charge) Release() {
	if c == nil {
		return
	}
	m := c.of.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(-c.bytes)
	c.bytes = 0
	if c.of.over == c {
		c.of.over = nil
		m.wake()
	}
}

// wait calls try, with mu held, until it returns true.
func (m *Memory) wait(ctx context.Context, r *Reservation, try func() bool) error {
	began := time.Now()
	for {
		m.mu.Lock()
		if try() {
			m.mu.Unlock()
			return nil
		}
		released, holder := m.released, m.largest(r)
		m.mu.Unlock()
		select {
		case <-released:
		case <-ctx.Done():
			return &BusyError{For: "memory for manifests", Holder: holder, Took: time.Since(began), Err: context.Cause(ctx)}
		}
	}
}

// largest returns the operation other than r that keeps the most. Called with mu
// held.
func (m *Memory) largest(r *Reservation) string {
	var found *Reservation
	for _, all := range m.hosts {
		for _, other := range all {
			if other != r && (found == nil || other.kept > found.kept) {
				found = other
			}
		}
	}
	if found == nil {
		return ""
	}
	return found.holder
}

// add changes what is used by n bytes. Called with mu held.
func (m *Memory) add(n int64) {
	if m.used += n; n < 0 {
		m.wake()
	}
}

// wake makes all waiting operations try again. Called with mu held.
func (m *Memory) wake() {
	close(m.released)
	m.released = make(chan struct{})
}

type chargeKey struct{}

// WithCharge returns a context whose operations charge the manifest that they read
// to c.
func WithCharge(ctx context.Context, c *Charge) context.Context {
	return context.WithValue(ctx, chargeKey{}, c)
}

// ChargeOf returns the charge of a context, nil if it has none.
func ChargeOf(ctx context.Context) *Charge {
	c, _ := ctx.Value(chargeKey{}).(*Charge)
	return c
}
