package main

import (
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// stallsFor is how long a connection that stands still does so: longer than
	// the engine waits for a byte.
	stallsFor = patience + 2*time.Second
	// delayedFor is at most how long a connection is held up at a time.
	delayedFor = 40 * time.Millisecond
)

// faults is what happens to connections until it is over: each carries so many
// bytes in one direction and then ends, by a reset or by an orderly close, or
// stands still before that. On the way it is held up now and then.
type faults struct {
	seed        uint64
	over        atomic.Bool
	connections atomic.Uint64

	cuts, stalls, delays atomic.Int64
}

// listener gives connections that have faults.
type listener struct {
	net.Listener
	faults *faults
}

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.faults.befall(conn), nil
}

// befall decides what will happen to a connection.
func (f *faults) befall(conn net.Conn) *faultyConn {
	random := rand.New(rand.NewPCG(f.seed, f.connections.Add(1)))
	c := &faultyConn{Conn: conn, faults: f, reset: random.IntN(2) == 0, stall: random.IntN(80) == 0, closed: make(chan struct{})}
	for _, d := range []*direction{&c.in, &c.out} {
		d.left, d.random = math.MaxInt64, rand.New(rand.NewPCG(f.seed, random.Uint64()))
	}
	fails := &c.in
	if random.IntN(2) == 0 {
		fails = &c.out
	}
	switch random.IntN(10) {
	case 0, 1, 2: // in the headers, or in what is small
		fails.left = random.Int64N(4 << 10)
	case 3, 4, 5, 6: // mostly in a blob
		fails.left = random.Int64N(1 << 20)
	default:
		fails.left = random.Int64N(16 << 20)
	}
	return c
}

// faultyConn is the server's end of a connection.
type faultyConn struct {
	net.Conn
	faults  *faults
	in, out direction
	reset   bool // when it fails; otherwise it ends as if it were over
	stall   bool // before it fails
	close   sync.Once
	closed  chan struct{}
}

// direction is one of a connection. One goroutine at a time uses it.
type direction struct {
	left   int64 // bytes until the connection fails
	random *rand.Rand
}

// Read implements net.Conn. Where the connection fails it gives what came before.
func (c *faultyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.faults.over.Load() {
		return n, err
	}
	c.delay(&c.in)
	if int64(n) > c.in.left {
		n = int(c.in.left)
		c.in.left = 0
		return n, c.fail()
	}
	c.in.left -= int64(n)
	return n, err
}

// Write implements net.Conn. Where the connection fails it sends what goes
// before.
func (c *faultyConn) Write(p []byte) (int, error) {
	if c.faults.over.Load() {
		return c.Conn.Write(p)
	}
	c.delay(&c.out)
	if int64(len(p)) > c.out.left {
		n, _ := c.Conn.Write(p[:c.out.left])
		c.out.left = 0
		return n, c.fail()
	}
	n, err := c.Conn.Write(p)
	c.out.left -= int64(n)
	return n, err
}

// delay holds a direction up, now and then.
func (c *faultyConn) delay(d *direction) {
	if d.random.IntN(100) == 0 {
		c.faults.delays.Add(1)
		c.wait(time.Duration(d.random.Int64N(int64(delayedFor))))
	}
}

// fail ends the connection.
func (c *faultyConn) fail() error {
	if c.stall {
		c.faults.stalls.Add(1)
		c.wait(stallsFor)
	}
	c.faults.cuts.Add(1)
	if tcp, ok := c.Conn.(*net.TCPConn); ok && c.reset {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
	return net.ErrClosed
}

// wait waits for d, or until the connection is closed.
func (c *faultyConn) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.closed:
	}
}

// Close implements net.Conn.
func (c *faultyConn) Close() error {
	c.close.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
