package remote

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"time"
)

const (
	dialTimeout = 30 * time.Second
	// attemptDelay is how long dial waits for one address before it also tries the next one
	// (RFC 8305, "Connection Attempt Delay").
	attemptDelay = 250 * time.Millisecond
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialer connects to hosts after checking the addresses that their names resolve to.
type dialer struct {
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	connect dialFunc
}

func newDialer(o Options) dialer {
	d := dialer{resolve: o.Resolve, connect: o.Dial}
	if d.resolve == nil {
		d.resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if d.connect == nil {
		d.connect = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	return d
}

// dialScope cancels pending dials when the operation that needs them ends. net/http would
// let them continue in the background: for a minute if a proxy does not respond, and
// forever with some kinds of proxy. See https://go.dev/issue/59017.
type dialScope struct {
	operation context.Context //nolint:containedctx // net/http detaches a dial from the context of its request

	mu    sync.Mutex
	ended bool
	stops []func() bool // stop watching the connections being set up
}

type dialScopeKey struct{}

// withDialScope ties the dialing for a request to the operation that the request is part
// of, until the request has a connection. The context of the request may last longer.
func withDialScope(ctx, operation context.Context) context.Context {
	m := &dialScope{operation: operation}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { m.end() }})
	return context.WithValue(ctx, dialScopeKey{}, m)
}

// dialScopeOf returns the scope that withDialScope added to ctx. Without one, dialing lasts
// as long as ctx.
func dialScopeOf(ctx context.Context) *dialScope {
	if m, ok := ctx.Value(dialScopeKey{}).(*dialScope); ok {
		return m
	}
	return &dialScope{operation: ctx}
}

// endCause returns why a request ended, or nil if it did not. The end of the operation may
// close the connection before the context of the request ends.
func endCause(ctx context.Context) error {
	return cmp.Or(context.Cause(ctx), context.Cause(dialScopeOf(ctx).operation)) //nolint:contextcheck // only read
}

// dialContext returns a context for dialing that is canceled when the operation ends, and a
// function that releases it.
func (m *dialScope) dialContext(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(m.operation, func() { cancel(context.Cause(m.operation)) })
	return ctx, func() { stop(); cancel(nil) }
}

// track closes conn when the operation ends, unless the request has a connection by then.
func (m *dialScope) track(conn net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended {
		m.stops = append(m.stops, context.AfterFunc(m.operation, func() { conn.Close() }))
	}
}

// end stops watching the connections, so that other operations can use them.
func (m *dialScope) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	for _, stop := range m.stops {
		stop()
	}
}

// allowAny accepts every address. It is the check for hosts that the user configured.
func allowAny(netip.Addr) error { return nil }

// dial connects to the first address of a name that accepts a connection, and returns that
// address too. It calls check with each address after name resolution. If check rejects one
// of them, dial connects to none.
func (d dialer) dial(ctx context.Context, network, address string, check func(netip.Addr) error) (net.Conn, netip.Addr, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	m := dialScopeOf(ctx)
	ctx, stop := m.dialContext(ctx)
	defer stop()
	addrs, err := d.addresses(ctx, host)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	for _, addr := range addrs {
		if err := check(addr); err != nil {
			return nil, netip.Addr{}, err
		}
	}
	if len(addrs) == 0 {
		return nil, netip.Addr{}, &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	first := d.race(ctx, network, port, addrs)
	if first.err != nil {
		return nil, netip.Addr{}, first.err
	}
	conn := &responseFirstConn{Conn: first.conn, closed: make(chan struct{})}
	m.track(conn)
	return conn, first.addr, nil
}

// addresses returns the addresses of a name. An IP address resolves to itself.
func (d dialer) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if literal, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{literal}, nil
	}
	return d.resolve(ctx, host)
}

// dialResult is the result of connecting to one address.
type dialResult struct {
	conn net.Conn
	addr netip.Addr
	err  error
}

// race tries the addresses in order and returns the first connection. It starts each
// attempt attemptDelay after the previous one, or at once if all earlier attempts have
// failed.
func (d dialer) race(ctx context.Context, network, port string, addrs []netip.Addr) dialResult {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialResult, len(addrs))
	started, ended := 0, 0
	start := func() {
		addr := addrs[started].Unmap()
		started++
		go func() {
			conn, err := d.connect(ctx, network, net.JoinHostPort(addr.String(), port))
			results <- dialResult{conn, addr, err}
		}()
	}
	start()
	timer := time.NewTicker(attemptDelay)
	defer timer.Stop()
	var errs error
	for {
		select {
		case r := <-results:
			ended++
			if r.err == nil {
				go closeRest(results, started-ended)
				return r
			}
			errs = errors.Join(errs, r.err)
			if ended == len(addrs) {
				return dialResult{err: errs}
			}
			if started == ended {
				start()
			}
		case <-timer.C:
			if started < len(addrs) {
				start()
			}
		}
	}
}

// closeRest closes the connections that were established after the first one.
func closeRest(results <-chan dialResult, n int) {
	for range n {
		if rest := <-results; rest.conn != nil {
			rest.conn.Close()
		}
	}
}

// responseGrace is how long a failed write waits for the response that explains it.
const responseGrace = time.Second

// responseFirstConn is a connection that delays write errors so that a response can arrive
// first. A registry that rejects a blob during its upload responds and closes the
// connection, which makes the next write fail. net/http returns whichever it sees first,
// but only the response explains the failure. Received data can still be read, and the
// reader closes the connection at its end. See https://go.dev/issue/51109.
type responseFirstConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *responseFirstConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		timer := time.NewTimer(responseGrace)
		defer timer.Stop()
		select {
		case <-c.closed:
		case <-timer.C:
		}
	}
	return n, err
}

// copyBufferSize is how much of a blob is read and written at a time. Twice the size of
// io.Copy saves half of the system calls. A larger buffer no longer fits into the nearest
// CPU caches together with the hash.
const copyBufferSize = 64 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBufferSize]byte) }}

// ReadFrom sends content. net/http calls it for request bodies.
func (c *responseFirstConn) ReadFrom(content io.Reader) (int64, error) {
	piece, _ := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(piece)
	return io.CopyBuffer(struct{ io.Writer }{c}, content, piece[:])
}

func (c *responseFirstConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
