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
	// nextAddress is when the next of a name's addresses is tried beside the
	// ones that have not answered (RFC 8305, "Connection Attempt Delay").
	attemptDelay = 250 * time.Millisecond
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialer connects to names, after a look at the addresses they resolve to.
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

// dialScope ties the dialScope of a connection to the operation that it is made for.
// net/http goes on with it otherwise when nobody wants the connection any more:
// for a minute with a proxy that does not answer, and for ever with one of some
// kinds.
type dialScope struct {
	operation context.Context //nolint:containedctx // net/http frees what is dialed from the request's

	mu    sync.Mutex
	ended bool
	stops []func() bool // unties the connections that are being made
}

type dialScopeKey struct{}

// withDialScope makes the connection for a request end with the operation that it is
// part of, until the request has got one. The request's own context may last longer.
func withDialScope(ctx, operation context.Context) context.Context {
	m := &dialScope{operation: operation}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { m.end() }})
	return context.WithValue(ctx, dialScopeKey{}, m)
}

// dialScopeOf is what withDialScope put into a context; without that, it lasts as long
// as the context.
func dialScopeOf(ctx context.Context) *dialScope {
	if m, ok := ctx.Value(dialScopeKey{}).(*dialScope); ok {
		return m
	}
	return &dialScope{operation: ctx}
}

// endOf is why a request was ended, nil where it was not. Its connection may be
// closed with the operation before the request's own context has ended.
func endCause(ctx context.Context) error {
	return cmp.Or(context.Cause(ctx), context.Cause(dialScopeOf(ctx).operation)) //nolint:contextcheck // it is only asked
}

// dialing is a context for the first part of it, the connection's own.
func (m *dialScope) dialContext(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(m.operation, func() { cancel(context.Cause(m.operation)) })
	return ctx, func() { stop(); cancel(nil) }
}

// track closes a connection with the operation while it is not ready for use.
func (m *dialScope) track(conn net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended {
		m.stops = append(m.stops, context.AfterFunc(m.operation, func() { conn.Close() }))
	}
}

// end unties the connections: from now on they are anybody's.
func (m *dialScope) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	for _, stop := range m.stops {
		stop()
	}
}

// anyAddress is the check of a dial that goes where somebody configured it to.
func allowAny(netip.Addr) error { return nil }

// dial connects to the first address of a name that answers, and returns the
// address too. check sees each address after DNS and refuses those that must
// not be gone to: one of them is reason enough to go to none.
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

// addresses returns the addresses of a name; an address is its own.
func (d dialer) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if literal, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{literal}, nil
	}
	return d.resolve(ctx, host)
}

// dialed is what became of connecting to one address.
type dialResult struct {
	conn net.Conn
	addr netip.Addr
	err  error
}

// race tries the addresses in their order, each a moment after the one before,
// and keeps the first connection.
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

// closeLate closes the connections that came after the one that is used.
func closeRest(results <-chan dialResult, n int) {
	for range n {
		if rest := <-results; rest.conn != nil {
			rest.conn.Close()
		}
	}
}

// answerPatience is how long an answer may be behind the failure to write that
// it explains.
const responseGrace = time.Second

// answerFirst is a connection that lets an answer overtake the error of writing.
// A registry that refuses a blob while it is still being sent answers, closes
// the connection, and so makes the next write fail; net/http gives whichever it
// sees first, and the answer is the one that says something. All that was
// received can still be read, and whoever reads closes the connection at its
// end.
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

// pieceSize is how much of a blob on its way is read and written at a time: twice
// of what io.Copy takes spares half of the calls of the system, and more no longer
// fits beside what hashes it into the nearest caches.
const copyBufferSize = 64 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBufferSize]byte) }}

// ReadFrom sends what content gives. net/http calls it for a body.
func (c *responseFirstConn) ReadFrom(content io.Reader) (int64, error) {
	piece, _ := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(piece)
	return io.CopyBuffer(struct{ io.Writer }{c}, content, piece[:])
}

func (c *responseFirstConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
