package registry

import "context"

// Trace is told, while an operation runs, what it costs and what a person
// should hear of. Its functions may be nil, and are called from many
// goroutines at once.
type Trace struct {
	// Request is called for each HTTP request that was sent, retries included.
	Request func(Request)
	// Warning is called with what a registry wants people to know, cleaned.
	Warning func(string)
}

// Request describes one HTTP request that was sent.
type Request struct {
	// Host is the host[:port] it went to.
	Host string
	// Method is its HTTP method.
	Method string
	// Retry is true where it repeats one that failed.
	Retry bool
}

type traceKey struct{}

// WithTrace returns a context whose operations report to t, and to the traces
// that ctx carries already.
func WithTrace(ctx context.Context, t Trace) context.Context {
	outer := TraceOf(ctx)
	return context.WithValue(ctx, traceKey{}, Trace{
		Request: both(t.Request, outer.Request),
		Warning: both(t.Warning, outer.Warning),
	})
}

// TraceOf returns the trace of a context; its functions are never nil.
func TraceOf(ctx context.Context) Trace {
	t, _ := ctx.Value(traceKey{}).(Trace)
	return Trace{Request: both(t.Request, nil), Warning: both(t.Warning, nil)}
}

func both[T any](a, b func(T)) func(T) {
	return func(v T) {
		if a != nil {
			a(v)
		}
		if b != nil {
			b(v)
		}
	}
}
