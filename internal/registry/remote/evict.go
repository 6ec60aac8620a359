package remote

import (
	"fmt"
	"slices"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	// minRate is the rate in bytes per second below which a transfer that is blocked by its
	// second host gives its slot to a waiting flow.
	minRate = 64 << 10
	// evictionInterval is how long a flow waits without a slot for a transfer before one is
	// taken from another flow, and how long a transfer is measured.
	evictionInterval = 500 * time.Millisecond
	// shareDownloadAfter and shareUploadAfter are how long a flow must have waited without
	// a slot before it gets one of several that another flow holds for transfers that are
	// not blocked. An evicted download continues later; an evicted upload starts again.
	shareDownloadAfter = 2 * time.Second
	shareUploadAfter   = 6 * time.Second
	// uploadTurn is how long a blocked upload initially keeps its slot while only slow
	// flows wait; see turn.
	uploadTurn = 30 * time.Second
	// lingerRate is the rate in bytes per second below which a transfer that is limited by
	// its second host gives its slot to another flow, even if it is faster than minRate;
	// see lingers.
	lingerRate = 1 << 20
)

// errEvicted is the cause of canceling a request whose slot another flow needs. The request
// is sent again when a slot is free.
var errEvicted = fmt.Errorf("%w, and another copy needed its request slot", registry.ErrSourceSlow)

// fast reports whether the transfer has moved bytes at minRate since it got its slot. The
// limiter's mu must be held.
func (s *slot) fast() bool {
	p := s.transfer.progress()
	moved := p.moved - s.start.moved
	return !s.evicted && moved >= minRate/4 && float64(moved) >= minRate*p.at.Sub(s.start.at).Seconds()
}

// stall is why a transfer is slower than minRate.
type stall int

const (
	// notStalled means that the transfer is faster or waits only for its own host.
	notStalled stall = iota
	// stalledBySlot means that the transfer waits for a slot of its second host.
	stalledBySlot
	// stalledByHost means that the transfer waits for its second host.
	stalledByHost
)

// stalled returns why the transfer has been slower than minRate since the last comparison.
func (s *slot) stalled(now progress) stall {
	took := now.at.Sub(s.compared.at)
	if took <= 0 || now.sent || float64(now.moved-s.compared.moved+now.last) >= minRate*took.Seconds() {
		return notStalled
	}
	switch blocked, queued := now.blocked-s.compared.blocked, now.queued-s.compared.queued; {
	case blocked-queued >= took*4/5:
		return stalledByHost
	case blocked >= took*4/5:
		return stalledBySlot
	}
	return notStalled
}

// lingers reports whether the transfer has run for a third of its turn at less than
// lingerRate because its second host limited it.
func (s *slot) lingers(now progress) bool {
	age := now.at.Sub(s.start.at)
	blocked := (now.blocked - s.start.blocked) - (now.queued - s.start.queued)
	return age >= s.transfer.turn()/3 && blocked >= age*4/5 && float64(now.moved-s.start.moved) < lingerRate*age.Seconds()
}

// starved reports whether the flow of w has no slot of the kind that w waits for. l.mu must
// be held.
func (l *limiter) starved(w *waiter) bool {
	f := l.shareOf(w.flow)
	return w.resumes() || w.class == exchange && f.held == f.transfers || w.class != exchange && f.transfers == 0
}

// scheduleEviction schedules evict if a flow is starved. l.mu must be held.
func (l *limiter) scheduleEviction() {
	if len(l.waiting) == 0 || len(l.transfers) == 0 || !slices.ContainsFunc(l.waiting, l.starved) {
		return
	}
	slow := slices.ContainsFunc(l.transfers, func(s *slot) bool { return !s.evicted && l.shareOf(s.flow).slow })
	switch {
	case l.eviction == nil && !slow:
		for _, s := range l.transfers {
			s.compared = s.transfer.progress()
		}
		l.eviction = time.AfterFunc(evictionInterval, l.evict)
	case l.eviction == nil:
		l.eviction = time.AfterFunc(0, l.evict) // a flow that is known to be slow is evicted immediately
	case slow:
		l.eviction.Reset(0)
	}
}

// evict evicts transfers so that starved flows get their slots. A waiter causes at most one
// eviction in each evictionInterval.
func (l *limiter) evict() {
	l.mu.Lock()
	l.eviction = nil
	var victims []*slot
	served := map[*share]bool{}
	now := time.Now()
	for _, w := range l.waiting {
		f := l.shareOf(w.flow)
		if served[f] || !l.starved(w) || now.Sub(w.promised) < evictionInterval {
			continue
		}
		if v := l.victim(w); v != nil {
			v.evicted, served[f], w.promised = true, true, now
			victims = append(victims, v)
		}
	}
	if len(victims) == 0 {
		l.unblock()
	}
	for _, s := range l.transfers {
		if p := s.transfer.progress(); float64(p.moved-s.compared.moved) >= minRate*p.at.Sub(s.compared.at).Seconds() {
			s.compared = p // otherwise the measurement continues
		}
	}
	if l.eviction == nil && slices.ContainsFunc(l.waiting, l.starved) && len(l.transfers) > 0 {
		l.eviction = time.AfterFunc(evictionInterval, l.evict)
	}
	l.mu.Unlock()
	for _, v := range victims {
		v.transfer.evict()
	}
}

// unblock admits a download beyond the share of transfers if no transfer of the host makes
// progress: uploads may hold all slots while each waits for a download to be resumed. The
// download must have waited for evictionInterval, and a slow flow is not admitted, so that a
// download is not admitted and evicted over and over. l.mu must be held.
func (l *limiter) unblock() {
	now := time.Now()
	i := slices.IndexFunc(l.waiting, func(w *waiter) bool {
		return w.class == download && w.resumes() && !l.shareOf(w.flow).slow && now.Sub(w.since) >= evictionInterval
	})
	if i < 0 || slices.ContainsFunc(l.transfers, func(s *slot) bool { return s.evicted || s.stalled(s.transfer.progress()) == notStalled }) {
		return
	}
	l.waiting[i].urgent = true
	l.grant()
}

// victim returns the transfer to evict for w, or nil if none may be evicted yet. l.mu must
// be held.
func (l *limiter) victim(w *waiter) *slot {
	var found *slot
	var best evictionCost
	for _, s := range l.transfers {
		if s.evicted || s.transfer == nil || s.transfer.evict == nil || !l.helps(s, w) {
			continue
		}
		if cost, ok := l.costOf(s, w); ok && (found == nil || cost.less(best)) {
			found, best = s, cost
		}
	}
	if found != nil && found.stalled(found.transfer.progress()) == stalledByHost {
		l.shareOf(found.flow).slow = true
	}
	return found
}

// helps reports whether w could use the slot of s. Downloads have a limit of their own, and
// slow flows a share. Otherwise s would get its slot again and be evicted again. l.mu must
// be held.
func (l *limiter) helps(s *slot, w *waiter) bool {
	if w.class != exchange && l.exceedsSlowShare(l.shareOf(w.flow)) {
		return false
	}
	return w.class != download || s.class == download || l.held[download] < max(l.allowed-2, 1)
}

// evictionCost orders transfers by the cost of evicting them.
type evictionCost struct {
	rank  evictionRank
	moved int64 // bytes that an upload would send again
}

type evictionRank int

const (
	stalledDownload evictionRank = iota
	stalledUpload
	sharedDownload // of a flow with several slots, or lingering
	sharedUpload
)

func (c evictionCost) less(other evictionCost) bool {
	return c.rank < other.rank || c.rank == other.rank && c.moved < other.moved
}

// costOf returns the cost of evicting s for w, and reports whether s may be evicted yet. An
// upload that waits for the slot of its download keeps its own slot longer, because a
// download that waits for an upload can be evicted without loss. l.mu must be held.
func (l *limiter) costOf(s *slot, w *waiter) (cost evictionCost, ok bool) {
	p := s.transfer.progress()
	if p.sent {
		return evictionCost{}, false
	}
	f, waits := l.shareOf(s.flow), l.shareOf(w.flow)
	waited := p.at.Sub(w.since)
	why := s.stalled(p)
	if f.slow && !waits.slow && p.blocked > p.queued {
		why = stalledByHost // measured earlier
	}
	rank := evictionRank(-1)
	switch {
	case why != notStalled && s.class == download:
		rank = stalledDownload
	case why == stalledByHost && (!waits.slow || p.at.Sub(s.start.at) >= s.transfer.turn()), why == stalledBySlot && waited >= shareUploadAfter:
		rank = stalledUpload
	case !waits.slow && s.flow != w.flow && s.lingers(p):
		rank = sharedDownload
		if s.class == upload {
			rank = sharedUpload
		}
	case w.class == exchange || s.flow == w.flow || f.transfers < 2 || waits.slow:
	case s.class == download && waited >= shareDownloadAfter:
		rank = sharedDownload
	case s.class == upload && waited >= shareUploadAfter:
		rank = sharedUpload
	}
	return evictionCost{rank, p.moved}, rank >= 0
}

// turn returns how long a blocked upload keeps its slot while only slow flows wait. It
// doubles with each eviction, up to 64 minutes, so that the upload completes eventually.
func (t *transfer) turn() time.Duration { return uploadTurn << min(t.evictions, 7) }
