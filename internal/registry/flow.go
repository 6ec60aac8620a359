package registry

import "context"

// Flow identifies the requests of one operation, such as one copy, so that the
// limits of a host are divided between operations and not between requests: an
// operation with many requests does not delay one with few.
type Flow struct {
	// Name describes the operation in errors and logs, as in "the copy of
	// ghcr.io/acme/app to registry.example.com/prod/app".
	Name string
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
