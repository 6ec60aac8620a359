package copier_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// streamBuffer is the number of bytes that one direction of a simulated connection buffers before
// its writer blocks, like the buffers of a socket.
const streamBuffer = 16 << 10

// simNetwork connects a client to simulated registries inside a synctest
// bubble. Every wait blocks on a condition variable or a channel of the bubble, so that the
// virtual clock can advance.
type simNetwork struct {
	mu     sync.Mutex
	hosts  map[string]*simHost // by host name
	byAddr map[netip.Addr]*simHost
	conns  map[*simConn]bool // the open server ends
	served sync.WaitGroup
}

// resolve implements remote.Options.Resolve.
func (n *simNetwork) resolve(_ context.Context, name string) ([]netip.Addr, error) {
	host, ok := n.hosts[name]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return []netip.Addr{host.addr}, nil
}

// dial implements remote.Options.Dial. Connecting takes one round trip.
func (n *simNetwork) dial(ctx context.Context, network, address string) (net.Conn, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	host := n.byAddr[at.Addr()]
	timer := time.NewTimer(host.spec.latency)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if host.spec.fault.kind == faultRefusing {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	client, server := newConnPair()
	server.onClose = func() {
		host.endRequest(server)
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.conns, server)
	}
	n.mu.Lock()
	n.conns[server] = true
	n.mu.Unlock()
	n.served.Go(func() { host.serve(server) })
	return client, nil
}

// close closes every connection and waits until every server goroutine has ended.
func (n *simNetwork) close() {
	n.mu.Lock()
	var open []*simConn
	for conn := range n.conns {
		open = append(open, conn)
	}
	n.mu.Unlock()
	for _, conn := range open {
		conn.Close()
	}
	n.served.Wait()
}

// simConn is one end of a buffered connection in memory. Closing either end closes both and
// discards unread data.
type simConn struct {
	in, out *stream
	shared  *connState
	onClose func() // only set for the server end
	peer    *simConn
}

type connState struct {
	once   sync.Once
	closed chan struct{}
}

func newConnPair() (client, server *simConn) {
	up, down := newStream(), newStream()
	shared := &connState{closed: make(chan struct{})}
	client = &simConn{in: down, out: up, shared: shared}
	server = &simConn{in: up, out: down, shared: shared}
	client.peer, server.peer = server, client
	return client, server
}

// Read implements net.Conn.
func (c *simConn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write implements net.Conn.
func (c *simConn) Write(p []byte) (int, error) { return c.out.write(p) }

// Close implements net.Conn.
func (c *simConn) Close() error {
	c.shared.once.Do(func() {
		c.in.close()
		c.out.close()
		close(c.shared.closed)
		for _, end := range []*simConn{c, c.peer} {
			if end.onClose != nil {
				end.onClose()
			}
		}
	})
	return nil
}

// pause waits for d and reports whether the connection is still open.
func (c *simConn) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.shared.closed:
		return false
	}
}

// LocalAddr implements net.Conn.
func (c *simConn) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr implements net.Conn.
func (c *simConn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// SetDeadline implements net.Conn. The client bounds its requests by contexts.
func (c *simConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (c *simConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (c *simConn) SetWriteDeadline(time.Time) error { return nil }

// stream is one direction of a connection.
type stream struct {
	mu      sync.Mutex
	changed sync.Cond
	buffer  []byte
	closed  bool
}

func newStream() *stream {
	s := &stream{}
	s.changed.L = &s.mu
	return s
}

func (s *stream) write(p []byte) (written int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(p) > 0 {
		for !s.closed && len(s.buffer) >= streamBuffer {
			s.changed.Wait()
		}
		if s.closed {
			return written, net.ErrClosed
		}
		n := min(len(p), streamBuffer-len(s.buffer))
		s.buffer = append(s.buffer, p[:n]...)
		p, written = p[n:], written+n
		s.changed.Broadcast()
	}
	return written, nil
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed && len(s.buffer) == 0 {
		s.changed.Wait()
	}
	if s.closed {
		return 0, io.EOF
	}
	n := copy(p, s.buffer)
	s.buffer = s.buffer[:copy(s.buffer, s.buffer[n:])]
	s.changed.Broadcast()
	return n, nil
}

func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.changed.Broadcast()
}

// link is the bandwidth that all connections of a host share in one direction.
type link struct {
	mu    sync.Mutex
	rate  float64 // bytes per second
	until time.Time
}

// reserve reserves the link for the next n bytes and returns how long they take to transfer.
func (l *link) reserve(n int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.until.Before(now) {
		l.until = now
	}
	l.until = l.until.Add(transferTime(n, l.rate))
	return l.until.Sub(now)
}

// transferTime returns how long n bytes take at a rate in bytes per second.
func transferTime(n int, rate float64) time.Duration {
	return time.Duration(float64(n) / rate * float64(time.Second))
}
