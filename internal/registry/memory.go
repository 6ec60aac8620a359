package registry

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Memory limits the memory of a process for manifests. All operations share a
// ceiling. So that an operation does not wait for operations on other hosts, each
// pair of a source and a destination host may exceed the ceiling:
//
//   - by what its operations keep, up to reservedShare, and by what one more of them
//     keeps,
//   - by one manifest that is read, parsed or written.
type Memory struct {
	mu      sync.Mutex
	ceiling int64
	used    int64
	pairs   map[string]*pairMemory
	changed chan struct{} // closed by the next release
}

// pairMemory is the memory that the operations of one pair of hosts use.
type pairMemory struct {
	kept         int64
	reservations []*Reservation
	above        *Reservation // the reservation that may exceed reservedShare, nil if there is none
	exempt       *Charge      // the charge that may exceed the ceiling, nil if there is none
	charges      []*Charge
}

const (
	// DefaultManifestMemory is the ceiling of a process, in bytes.
	DefaultManifestMemory = 8 << 20
	// reservedShare is how many bytes the operations of one pair may keep, whatever
	// other pairs use.
	reservedShare = 4 << 20
	// parseFactor is how many times its own size a manifest of many small parts may
	// take while it is parsed.
	parseFactor = 16
)

// NewMemory returns a Memory with a shared ceiling in bytes.
func NewMemory(ceiling int64) *Memory {
	return &Memory{ceiling: ceiling, pairs: map[string]*pairMemory{}, changed: make(chan struct{})}
}

// Reservation is the memory that one operation keeps until it ends. It must be
// released.
type Reservation struct {
	memory       *Memory
	pair, holder string
	bytes        int64
}

// Charge is the memory of one manifest while it is read and parsed. It must be
// released.
type Charge struct {
	memory       *Memory
	pair, holder string
	bytes        int64
}

// Reserve returns an empty reservation for an operation on a pair of hosts. pair
// identifies the pair. holder describes the operation in the errors of operations
// that wait for it.
func (m *Memory) Reserve(pair, holder string) *Reservation {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &Reservation{memory: m, pair: pair, holder: holder}
	p := m.pairOf(pair)
	p.reservations = append(p.reservations, r)
	return r
}

// Charge returns an empty charge for one manifest. pair and holder are as in
// Reserve.
func (m *Memory) Charge(pair, holder string) *Charge {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &Charge{memory: m, pair: pair, holder: holder}
	p := m.pairOf(pair)
	p.charges = append(p.charges, c)
	return c
}

// pairOf returns the memory of a pair. The caller holds m.mu.
func (m *Memory) pairOf(pair string) *pairMemory {
	if m.pairs[pair] == nil {
		m.pairs[pair] = &pairMemory{}
	}
	return m.pairs[pair]
}

// Grow raises the number of bytes that the operation keeps to n, if n is larger. It
// waits until they fit. The error is a *BusyError if the context ends first.
func (r *Reservation) Grow(ctx context.Context, n int64) error {
	return r.memory.wait(ctx, r.holder, func() bool { return r.grow(n) })
}

// TryGrow is Grow without the wait. It reports whether the reservation is large
// enough.
func (r *Reservation) TryGrow(n int64) bool {
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	return r.grow(n)
}

// grow reports whether the reservation is at least n bytes, and raises it if that
// fits. The caller holds mu.
func (r *Reservation) grow(n int64) bool {
	m, more := r.memory, n-r.bytes
	if more <= 0 {
		return true
	}
	p := m.pairOf(r.pair)
	if m.used+more > m.ceiling && p.kept+more > reservedShare && p.above != r {
		if p.above != nil {
			return false
		}
		p.above = r
	}
	r.bytes = n
	p.kept += more
	m.used += more
	return true
}

// Release ends the reservation.
func (r *Reservation) Release() {
	m := r.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.pairOf(r.pair)
	p.reservations = slices.DeleteFunc(p.reservations, func(other *Reservation) bool { return other == r })
	p.kept -= r.bytes
	ends := p.above == r
	if ends {
		p.above = nil
	}
	m.release(r.pair, r.bytes, ends)
	r.bytes = 0
}

// Grow raises the charge to what a manifest of size bytes may take while it is
// parsed. It waits until that fits. The error is a *BusyError if the context ends
// first.
func (c *Charge) Grow(ctx context.Context, size int64) error {
	return c.memory.wait(ctx, c.holder, func() bool { return c.grow(size) })
}

// TryGrow is Grow without the wait. It reports whether the charge is large enough.
func (c *Charge) TryGrow(size int64) bool {
	c.memory.mu.Lock()
	defer c.memory.mu.Unlock()
	return c.grow(size)
}

// grow reports whether the charge is large enough for a manifest of size bytes, and
// raises it if that fits. The caller holds mu.
func (c *Charge) grow(size int64) bool {
	m, more := c.memory, parseFactor*size-c.bytes
	if more <= 0 {
		return true
	}
	if p := m.pairOf(c.pair); m.used+more > m.ceiling && p.exempt != c {
		if p.exempt != nil {
			return false
		}
		p.exempt = c
	}
	m.used += more
	c.bytes += more
	return true
}

// Shrink lowers the charge to size bytes, the content of a manifest after it was
// parsed. It does nothing if the charge is smaller.
func (c *Charge) Shrink(size int64) {
	c.memory.mu.Lock()
	defer c.memory.mu.Unlock()
	if c.bytes > size {
		c.lower(size)
	}
}

// Release releases the charge. Further calls do nothing.
func (c *Charge) Release() {
	m := c.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.pairOf(c.pair)
	p.charges = slices.DeleteFunc(p.charges, func(other *Charge) bool { return other == c })
	c.lower(0)
}

// lower sets the charge to n bytes, which is less than it has. Another charge of
// the pair may exceed the ceiling if this one no longer does. The caller holds mu.
func (c *Charge) lower(n int64) {
	m := c.memory
	freed := c.bytes - n
	c.bytes = n
	p := m.pairOf(c.pair)
	ends := p.exempt == c && (n == 0 || m.used-freed <= m.ceiling)
	if ends {
		p.exempt = nil
	}
	m.release(c.pair, freed, ends)
}

// release returns n bytes of a pair. It wakes all waiting operations if one may be
// able to continue. The caller holds m.mu.
func (m *Memory) release(pair string, n int64, wake bool) {
	m.used -= n
	if p := m.pairs[pair]; p != nil && len(p.reservations) == 0 && len(p.charges) == 0 {
		delete(m.pairs, pair)
	}
	if n > 0 || wake {
		close(m.changed)
		m.changed = make(chan struct{})
	}
}

// wait calls try with m.mu held until it returns true. It records the wait in the
// trace and the flow of ctx.
func (m *Memory) wait(ctx context.Context, waiter string, try func() bool) error {
	began := time.Now()
	for waited := false; ; waited = true {
		m.mu.Lock()
		done, changed := try(), m.changed
		m.mu.Unlock()
		if done {
			if waited {
				RecordWait(ctx, Delay{Reason: WaitMemory}, time.Since(began))
			}
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			m.mu.Lock()
			holder := m.largest(waiter)
			m.mu.Unlock()
			RecordWait(ctx, Delay{Reason: WaitMemory, Holder: holder}, time.Since(began))
			return &BusyError{For: "memory for manifests", Holder: holder, Took: time.Since(began), Err: context.Cause(ctx)}
		}
	}
}

// RecordWait records a wait in the trace and the flow of a context.
func RecordWait(ctx context.Context, d Delay, took time.Duration) {
	TraceOf(ctx).Wait(Wait{For: d.Reason, Took: took})
	FlowOf(ctx).Waited(d, took)
}

// largest returns the operation other than waiter that uses the most memory, or ""
// if no other uses any. The caller holds m.mu.
func (m *Memory) largest(waiter string) string {
	held := map[string]int64{}
	for _, p := range m.pairs {
		for _, r := range p.reservations {
			held[r.holder] += r.bytes
		}
		for _, c := range p.charges {
			held[c.holder] += c.bytes
		}
	}
	found := ""
	for holder, n := range held {
		if holder != waiter && n > 0 && (found == "" || n > held[found] || n == held[found] && holder < found) {
			found = holder
		}
	}
	return found
}

type chargeKey struct{}

// WithCharge returns a context in which the memory of a manifest is charged to c
// when the manifest is read.
func WithCharge(ctx context.Context, c *Charge) context.Context {
	return context.WithValue(ctx, chargeKey{}, c)
}

// ChargeOf returns the charge of a context, or nil if it has none.
func ChargeOf(ctx context.Context) *Charge {
	c, _ := ctx.Value(chargeKey{}).(*Charge)
	return c
}
