package remote

import (
	"context"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// share counts the slots of a host that a flow holds and waits for. It exists while there
// are any, and longer if the flow is slow.
type share struct {
	held, transfers, waiting int
	// slow reports whether the second host of the flow's transfers was measured to be
	// slower than minRate.
	slow bool
}

// shareOf returns the share of a flow. It creates it if necessary. l.mu must be held.
func (l *limiter) shareOf(flow *registry.Flow) *share {
	f := l.flows[flow]
	if f == nil {
		f = &share{}
		l.flows[flow] = f
	}
	return f
}

// maxIdleShares is the number of shares from which on those of slow flows without slots are
// forgotten too: a flow does not report its end.
const maxIdleShares = 1024

// forget removes the share of a flow that neither holds nor waits for a slot. It keeps that
// of a slow flow, whose evicted transfer returns: it must not evict others as if it were
// fast. l.mu must be held.
func (l *limiter) forget(flow *registry.Flow) {
	f := l.flows[flow]
	if f != nil && f.held == 0 && f.waiting == 0 && (!f.slow || len(l.flows) > maxIdleShares) {
		delete(l.flows, flow)
	}
}

// leavesShare reports whether another transfer of the flow of w leaves enough slots for
// transfers of other flows: one slot for every four that the flow then holds. A download
// that an upload waits for is exempt. l.mu must be held.
func (l *limiter) leavesShare(w *waiter) bool {
	f := l.shareOf(w.flow)
	if l.exceedsSlowShare(f) {
		return false
	}
	left := l.allowed - 1 - (l.held[upload] + l.held[download] + 1)
	return f.transfers == 0 || w.resumes() || left >= (f.transfers+1)/4
}

// exceedsSlowShare reports whether a slow flow must not get another transfer. While another
// flow uses the host, the transfers of a slow flow get at most a quarter of the slots. l.mu
// must be held.
func (l *limiter) exceedsSlowShare(f *share) bool {
	return f.slow && f.transfers >= max((l.allowed-1)/4, 1) && l.contested()
}

// contested reports whether a flow that is not slow uses the host. l.mu must be held.
func (l *limiter) contested() bool {
	for _, f := range l.flows {
		if !f.slow && f.held+f.waiting > 0 {
			return true
		}
	}
	return false
}

// precedes reports whether a, which came after b, is granted a slot first. A waiter for
// which a transfer was evicted comes first, and transfers of slow flows come last. Otherwise the flow with the fewest slots comes first. Within a
// flow, a download that an upload waits for comes first. Other downloads come last, because
// the uploads of those in flight wait for the same host. l.mu must be held.
func (l *limiter) precedes(a, b *waiter) bool {
	if promisedA, promisedB := !a.promised.IsZero(), !b.promised.IsZero(); promisedA != promisedB {
		return promisedA
	}
	fa, fb := l.shareOf(a.flow), l.shareOf(b.flow)
	if slowA, slowB := fa.slow && a.class != exchange, fb.slow && b.class != exchange; slowA != slowB {
		return slowB
	}
	if fa.held != fb.held {
		return fa.held < fb.held
	}
	if a.resumes() != b.resumes() {
		return a.resumes()
	}
	return a.class != download && b.class == download
}

// holder returns the name of the other flow that holds the most slots. It returns "" if the
// flow of w holds more slots than all others, because w then waits for its own transfers.
// l.mu must be held.
func (l *limiter) holder(w *waiter) string {
	name, most, others := "", 0, 0
	for other, f := range l.flows {
		if other == w.flow {
			continue
		}
		others += f.held
		if other != nil && f.held > 0 && (f.held > most || f.held == most && other.Name < name) {
			name, most = other.Name, f.held
		}
	}
	if own := l.flows[w.flow]; own != nil && own.held > others {
		return ""
	}
	return name
}

// busyError returns the error of a waiter whose context ended. It names the flow that holds
// the most slots, if that is another one. l.mu must be held.
func (l *limiter) busyError(ctx context.Context, w *waiter) error {
	holder := l.holder(w)
	if holder == "" {
		return context.Cause(ctx)
	}
	return &registry.BusyError{For: "one of the host's request slots", Holder: holder, Took: time.Since(w.since), Err: context.Cause(ctx)}
}
