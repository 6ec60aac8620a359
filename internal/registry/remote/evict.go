package remote

import (
	"fmt"
	"slices"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	// minRate is the rate, in bytes per second, below which a transfer that is
	// blocked by its second host gives its slot to a waiting flow.
	minRate = 64 << 10
	// evictionInterval is how long a flow waits without a slot for a transfer
	// before one is taken from another flow, and how long a transfer is measured.
	evictionInterval = 500 * time.Millisecond
	// A flow whose transfers are not blocked has one taken from it only if it holds
	// several and another flow has waited this long without any. A download
	// continues later; an upload begins again.
	shareDownloadAfter = 2 * time.Second
	shareUploadAfter   = 6 * time.Second
	// uploadTurn is how long an upload that is blocked keeps its slot while only
	// flows that are slow themselves wait.
	uploadTurn = 30 * time.Second
)

// errEvicted is the cause of an upload that gave its slot to another flow. It is
// sent again when there is a slot.
var errEvicted = fmt.Errorf("%w, and another copy needed its request slot", registry.ErrSourceSlow)

// fast reports whether the transfer has moved bytes at minRate since its slot was
// granted. Called with the limiter's mu held.
func (s *slot) fast() bool {
	p := s.transfer.progress()
	moved := p.moved - s.start.moved
	return !s.evicted && moved >= minRate/4 && float64(moved) >= minRate*p.at.Sub(s.start.at).Seconds()
}

// stalled reports whether the transfer was slower than minRate since it was last
// compared because it had to wait, and slow whether it waited for its second host
// and not for a slot of it.
func (s *slot) stalled(now progress) (stalled, slow bool) {
	took := now.at.Sub(s.seen.at)
	if took <= 0 || now.sent || float64(now.moved-s.seen.moved+now.last) >= minRate*took.Seconds() {
		return false, false
	}
	blocked, queued := now.blocked-s.seen.blocked, now.queued-s.seen.queued
	return blocked >= took*4/5, blocked-queued >= took*4/5
}

// deprived reports whether the flow of w has nothing of what it waits for.
// Called with mu held.
func (l *limiter) deprived(w *waiter) bool {
	f := l.shareOf(w.flow)
	return w.resumes() || w.class == exchange && f.held == f.transfers || w.class != exchange && f.transfers == 0
}

// scheduleEviction makes evict run while a flow is deprived. Called with mu held.
func (l *limiter) scheduleEviction() {
	if len(l.waiting) == 0 || len(l.transfers) == 0 || !slices.ContainsFunc(l.waiting, l.deprived) {
		return
	}
	slow := slices.ContainsFunc(l.transfers, func(s *slot) bool { return !s.evicted && l.shareOf(s.flow).slow })
	switch {
	case l.eviction == nil && !slow:
		for _, s := range l.transfers {
			s.seen = s.transfer.progress()
		}
		l.eviction = time.AfterFunc(evictionInterval, l.evict)
	case l.eviction == nil:
		l.eviction = time.AfterFunc(0, l.evict) // a flow that is known to be slow gives way at once
	case slow:
		l.eviction.Reset(0)
	}
}

// evict takes slots from transfers for the flows that are deprived of them.
func (l *limiter) evict() {
	l.mu.Lock()
	l.eviction = nil
	var victims []*slot
	served := map[*share]bool{}
	for _, w := range l.waiting {
		f := l.shareOf(w.flow)
		if served[f] || !l.deprived(w) {
			continue
		}
		if v := l.victim(w); v != nil {
			v.evicted, served[f] = true, true
			victims = append(victims, v)
		}
	}
	for _, s := range l.transfers {
		if p := s.transfer.progress(); float64(p.moved-s.seen.moved) >= minRate*p.at.Sub(s.seen.at).Seconds() {
			s.seen = p // otherwise the comparison goes on
		}
	}
	if l.eviction == nil && slices.ContainsFunc(l.waiting, l.deprived) && len(l.transfers) > 0 {
		l.eviction = time.AfterFunc(evictionInterval, l.evict)
	}
	l.mu.Unlock()
	for _, v := range victims {
		v.transfer.evict()
	}
}

// victim returns the transfer whose slot w gets, nil if none has to give way yet.
// Called with mu held.
func (l *limiter) victim(w *waiter) *slot {
	var found *slot
	best := 0.0
	for _, s := range l.transfers {
		if s.evicted || s.transfer == nil || s.transfer.evict == nil || !l.helps(s, w) {
			continue
		}
		if cost, ok := l.evictionCost(s, w); ok && (found == nil || cost < best) {
			found, best = s, cost
		}
	}
	if found != nil {
		_, slow := found.stalled(found.transfer.progress())
		f := l.shareOf(found.flow)
		f.slow = f.slow || slow
	}
	return found
}

// helps reports whether w can have the slot that s gives up: downloads have a
// limit of their own. Called with mu held.
func (l *limiter) helps(s *slot, w *waiter) bool {
	return w.class != download || s.class == download || l.held[download] < max(l.allowed-2, 1)
}

// evictionCost reports whether s has to give way to w, and the cost of that, in
// bytes that are sent again and a preference: stalled downloads first, then
// stalled uploads, then the transfers of flows that hold several. An upload that
// waits for the slot of its download keeps its own for longer, because a download
// that waits for an upload gives way without loss. Called with mu held.
func (l *limiter) evictionCost(s *slot, w *waiter) (cost float64, ok bool) {
	const stalledUpload, running = 1e15, 1e18
	p := s.transfer.progress()
	f, waits := l.shareOf(s.flow), l.shareOf(w.flow)
	waited := p.at.Sub(w.since)
	stalled, slow := s.stalled(p)
	if f.slow && !waits.slow && p.blocked > p.queued {
		stalled, slow = true, true
	}
	switch {
	case p.sent:
		return 0, false
	case stalled && s.class == download:
		return float64(p.moved), true
	case slow && !waits.slow, slow && p.at.Sub(s.start.at) >= uploadTurn, stalled && waited >= shareUploadAfter:
		return stalledUpload + float64(p.moved), true
	case w.class == exchange || s.flow == w.flow || f.transfers < 2 || waits.slow:
		return 0, false
	case s.class == download && waited >= shareDownloadAfter:
		return running + float64(p.moved), true
	case s.class == upload && waited >= shareUploadAfter:
		return 2*running + float64(p.moved), true
	}
	return 0, false
}
