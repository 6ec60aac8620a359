package registry

import (
	"context"
	"time"
)

// Trace is told, while an operation runs, what it costs and what a person
// should hear of. Its functions may be nil, and are called from many
// goroutines at once.
type Trace struct {
	// Request is called for each HTTP request when it is sent, retries included.
	Request func(Request)
	// Over is called for each of them, once and with the same, when its answer
	// was read or is given up. Until then the request is under way.
	Over func(Request)
	// Wait is called when something waited before it was sent, or sent again.
	Wait func(Wait)
	// Warning is called with what a registry wants people to know, cleaned.
	Warning func(string)
}

// Request describes one HTTP request that was sent.
type Request struct {
	// Host is the host[:port] it went to, cleaned: a registry may have pointed
	// there.
	Host string
	// Method is its HTTP method.
	Method string
	// Object is what it was about: "manifest", "blob", "upload", "tags" or
	// "token".
	Object string
	// Retry is true where it repeats one that failed.
	Retry bool
}

// Kind is the method and the object: "GET blob". A part of a blob is one too, and
// so is asking to mount one a "POST upload".
func (r Request) Kind() string { return r.Method + " " + r.Object }

// Wait is a time for which a request or a blob was held back. That its answer took long
// is none.
type Wait struct {
	For  WaitReason
	Took time.Duration
}

// WaitReason is why a request is held back, by the name of the setting that says
// so where there is one.
type WaitReason string

const (
	// WaitSlot is for others to the same host to end.
	WaitSlot WaitReason = "max_concurrent_requests"
	// WaitRate is for the host's next turn.
	WaitRate WaitReason = "requests_per_second"
	// WaitRetry is the pause after a failure: what the registry asked for with
	// Retry-After, or a time that doubles.
	WaitRetry WaitReason = "retry"
	// WaitShared is for another copy of the process, which brings the same blob.
	WaitShared WaitReason = "another copy of the blob"
	// WaitMemory is for other copies of the process to release memory for manifests.
	WaitMemory WaitReason = "memory for manifests"
	// WaitList is for another copy of the process that writes the same list of
	// referrers.
	WaitList WaitReason = "list of referrers"
	// WaitLock is for another writer of the same image layout.
	WaitLock WaitReason = "lock of the image layout"
)

type traceKey struct{}

// WithTrace returns a context whose operations report to t, and to the traces
// that ctx carries already.
func WithTrace(ctx context.Context, t Trace) context.Context {
	outer := TraceOf(ctx)
	return context.WithValue(ctx, traceKey{}, Trace{
		Request: both(t.Request, outer.Request),
		Over:    both(t.Over, outer.Over),
		Wait:    both(t.Wait, outer.Wait),
		Warning: both(t.Warning, outer.Warning),
	})
}

// TraceOf returns the trace of a context; its functions are never nil.
func TraceOf(ctx context.Context) Trace {
	t, _ := ctx.Value(traceKey{}).(Trace)
	return Trace{Request: both(t.Request, nil), Over: both(t.Over, nil), Wait: both(t.Wait, nil), Warning: both(t.Warning, nil)}
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
