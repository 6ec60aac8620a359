package registry

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Flow identifies the requests of one operation, such as one copy, so that the
// limits of a host are divided between operations and not between requests: an
// operation with many requests does not delay one with few.
type Flow struct {
	// Name describes the operation in errors and logs, as in "the copy of
	// ghcr.io/acme/app to registry.example.com/prod/app".
	Name string

	mu     sync.Mutex
	waited map[string]*waits
}

// waits are the waits of a flow's requests for one thing.
type waits struct {
	sum, longest time.Duration
	holder       string // of the longest
}

// Waited records that a request of the flow waited. what is a host, or describes a
// thing that another flow had; holder is the name of that flow, "" if there is none.
// A nil flow records nothing.
func (f *Flow) Waited(what, holder string, d time.Duration) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.waited[what]
	if w == nil {
		if f.waited == nil {
			f.waited = map[string]*waits{}
		}
		w = &waits{}
		f.waited[what] = w
	}
	if w.sum += d; d >= w.longest {
		w.longest, w.holder = d, holder
	}
}

// Slowest returns what the flow's requests waited for the longest, all requests
// added up, "" if they did not wait.
func (f *Flow) Slowest() string {
	if f == nil {
		return ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	slowest, most := "", time.Duration(-1)
	for _, what := range slices.Sorted(maps.Keys(f.waited)) {
		if w := f.waited[what]; w.sum > most {
			slowest, most = strings.TrimSpace(what+" "+w.holder), w.sum
		}
	}
	return slowest
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

// FlowOf returns the flow of a context. It returns nil if the context has none;
// requests without a flow share one.
func FlowOf(ctx context.Context) *Flow {
	f, _ := ctx.Value(flowKey{}).(*Flow)
	return f
}
