package remote

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	dialTimeout = 30 * time.Second
	// nextAddress is when the next of a name's addresses is tried beside the
	// ones that have not answered (RFC 8305, "Connection Attempt Delay").
	nextAddress = 250 * time.Millisecond
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

type operationKey struct{}

// dialFor makes connecting for a request end with the operation that it is part
// of. net/http goes on with it otherwise when nobody wants the connection any
// more, which a Terraform that was interrupted would be seen to wait for.
func dialFor(ctx context.Context) context.Context { return context.WithValue(ctx, operationKey{}, ctx) }

// operation is the context of a dial, which net/http has freed from its
// request, tied to the operation again.
func operation(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	of, ok := ctx.Value(operationKey{}).(context.Context)
	if !ok {
		return ctx, func() { cancel(nil) }
	}
	stop := context.AfterFunc(of, func() { cancel(context.Cause(of)) })
	return ctx, func() { stop(); cancel(nil) }
}

// anyAddress is the check of a dial that goes where somebody configured it to.
func anyAddress(netip.Addr) error { return nil }

// dial connects to the first address of a name that answers, and returns the
// address too. check sees each address after DNS and refuses those that must
// not be gone to: one of them is reason enough to go to none.
func (d dialer) dial(ctx context.Context, network, address string, check func(netip.Addr) error) (net.Conn, netip.Addr, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	ctx, stop := operation(ctx)
	defer stop()
	var addrs []netip.Addr
	if literal, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, literal)
	} else if addrs, err = d.resolve(ctx, host); err != nil {
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
	return &answerFirst{Conn: first.conn, closed: make(chan struct{})}, first.addr, nil
}

// dialed is what became of connecting to one address.
type dialed struct {
	conn net.Conn
	addr netip.Addr
	err  error
}

// race tries the addresses in their order, each a moment after the one before,
// and keeps the first connection.
func (d dialer) race(ctx context.Context, network, port string, addrs []netip.Addr) dialed {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialed, len(addrs))
	started, ended := 0, 0
	start := func() {
		addr := addrs[started].Unmap()
		started++
		go func() {
			conn, err := d.connect(ctx, network, net.JoinHostPort(addr.String(), port))
			results <- dialed{conn, addr, err}
		}()
	}
	start()
	timer := time.NewTicker(nextAddress)
	defer timer.Stop()
	var failed error
	for {
		select {
		case r := <-results:
			ended++
			if r.err == nil {
				go closeLate(results, started-ended)
				return r
			}
			failed = errors.Join(failed, r.err)
			if ended == len(addrs) {
				return dialed{err: failed}
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
func closeLate(results <-chan dialed, n int) {
	for range n {
		if late := <-results; late.conn != nil {
			late.conn.Close()
		}
	}
}

// answerPatience is how long an answer may be behind the failure to write that
// it explains.
const answerPatience = time.Second

// answerFirst is a connection that lets an answer overtake the error of writing.
// A registry that refuses a blob while it is still being sent answers, closes
// the connection, and so makes the next write fail; net/http gives whichever it
// sees first, and the answer is the one that says something. All that was
// received can still be read, and whoever reads closes the connection at its
// end.
type answerFirst struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *answerFirst) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		timer := time.NewTimer(answerPatience)
		defer timer.Stop()
		select {
		case <-c.closed:
		case <-timer.C:
		}
	}
	return n, err
}

func (c *answerFirst) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
