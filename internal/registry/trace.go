package registry

import (
	"context"
	"time"
)

// Trace receives events of an operation while it runs. Its functions may be nil.
// They are called concurrently.
type Trace struct {
	// Request is called for each HTTP request when it is sent, including retries.
	Request func(Request)
	// Over is called exactly once per Request and with the same argument, after the
	// response body is read or closed. Until then the request is in progress.
	Over func(Request)
	// Wait is called after a request or a blob was delayed.
	Wait func(Wait)
	// Warning is called with a sanitized warning of a registry for users.
	Warning func(string)
}

// Request describes one HTTP request that was sent.
type Request struct {
	// Host is the sanitized host[:port] of the request. It may come from a redirect
	// of a registry.
	Host string
	// Method is the HTTP method.
	Method string
	// Object is the kind of object that is requested: "manifest", "blob", "upload",
	// "tags" or "token".
	Object string
	// Retry reports whether the request repeats a failed one.
	Retry bool
}

// Kind returns the method and the object, such as "GET blob". A request for a part
// of a blob is a "GET blob", and a request to mount a blob is a "POST upload".
func (r Request) Kind() string { return r.Method + " " + r.Object }

// Wait describes a client-side delay before a request. Server latency is not
// included.
type Wait struct {
	For  WaitReason
	Took time.Duration
}

// WaitReason is why a request is delayed. If a setting causes the delay, it is the
// name of the setting.
type WaitReason string

const (
	// WaitSlot means that the request waits for other requests to the host to end.
	WaitSlot WaitReason = "max_concurrent_requests"
	// WaitRate means that the request waits for the rate limit of the host.
	WaitRate WaitReason = "requests_per_second"
	// WaitRetry means that the request waits after a failure. The delay is the
	// Retry-After of the registry, or doubles with each attempt.
	WaitRetry WaitReason = "retry"
	// WaitShared means that another copy of the process is copying the same blob.
	WaitShared WaitReason = "another copy of the blob"
	// WaitMemory means that other copies of the process use the memory for
	// manifests.
	WaitMemory WaitReason = "memory for manifests"
	// WaitList means that another copy of the process writes the same list of
	// referrers.
	WaitList WaitReason = "list of referrers"
	// WaitLock means that another writer has the lock of the image layout.
	WaitLock WaitReason = "lock of the image layout"
)

type traceKey struct{}

// WithTrace returns a context whose operations report to t and to the trace of ctx.
func WithTrace(ctx context.Context, t Trace) context.Context {
	outer := TraceOf(ctx)
	return context.WithValue(ctx, traceKey{}, Trace{
		Request: chain(t.Request, outer.Request),
		Over:    chain(t.Over, outer.Over),
		Wait:    chain(t.Wait, outer.Wait),
		Warning: chain(t.Warning, outer.Warning),
	})
}

// TraceOf returns the trace of a context. Its functions are never nil.
func TraceOf(ctx context.Context) Trace {
	t, _ := ctx.Value(traceKey{}).(Trace)
	return Trace{Request: chain(t.Request, nil), Over: chain(t.Over, nil), Wait: chain(t.Wait, nil), Warning: chain(t.Warning, nil)}
}

func chain[T any](a, b func(T)) func(T) {
	return func(v T) {
		if a != nil {
			a(v)
		}
		if b != nil {
			b(v)
		}
	}
}
