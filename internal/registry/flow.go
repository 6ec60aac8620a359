package registry

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Flow identifies the requests of one operation, such as one copy. The limits of a
// host are divided between flows and not between requests, so that an operation
// with many requests does not delay one with few.
type Flow struct {
	// Name describes the operation in errors and logs, as in "the copy of
	// ghcr.io/acme/app to registry.example.com/prod/app".
	Name string

	mu     sync.Mutex
	delays map[delayKey]*delay
}

// Delay identifies a reason for which requests of a flow waited.
type Delay struct {
	// Reason is why they waited in this process. "" means that they waited for the
	// host to respond.
	Reason WaitReason
	// Host is the host that they waited for, or for a slot of.
	Host string
	// Holder is the name of the flow that used the resource, "" if no other flow
	// did.
	Holder string
}

type delayKey struct {
	reason WaitReason
	host   string
}

type delay struct {
	sum, longest time.Duration
	holder       string // during the longest wait
}

// Waited records that a request of the flow was delayed by d for the duration took. A nil
// flow records nothing.
func (f *Flow) Waited(d Delay, took time.Duration) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key := delayKey{d.Reason, d.Host}
	sum := f.delays[key]
	if sum == nil {
		if f.delays == nil {
			f.delays = map[delayKey]*delay{}
		}
		sum = &delay{}
		f.delays[key] = sum
	}
	if sum.sum += took; took >= sum.longest {
		sum.longest, sum.holder = took, d.Holder
	}
}

// Slowest returns the delay of the flow with the largest sum over all its requests.
// It reports whether the flow waited at all.
func (f *Flow) Slowest() (d Delay, waited bool) {
	if f == nil {
		return Delay{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	most := time.Duration(-1)
	for _, key := range slices.SortedFunc(maps.Keys(f.delays), compareDelays) {
		if sum := f.delays[key]; sum.sum > most {
			d, most = Delay{key.reason, key.host, sum.holder}, sum.sum
		}
	}
	return d, most >= 0
}

func compareDelays(a, b delayKey) int {
	return cmp.Or(cmp.Compare(a.reason, b.reason), cmp.Compare(a.host, b.host))
}

// String returns the name, "" for a nil flow.
func (f *Flow) String() string {
	if f == nil {
		return ""
	}
	return f.Name
}

type flowKey struct{}

// WithFlow returns a context whose requests belong to a new flow.
func WithFlow(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, flowKey{}, &Flow{Name: name})
}

// FlowOf returns the flow of a context, or nil if the context has none. Requests
// without a flow share one.
func FlowOf(ctx context.Context) *Flow {
	f, _ := ctx.Value(flowKey{}).(*Flow)
	return f
}
