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
	// stallDuration is how long a stalled connection stalls. It is longer than the engine waits
	// for a byte.
	stallDuration = stallTimeout + 2*time.Second
	// maxDelay is the maximum duration of a single delay.
	maxDelay = 40 * time.Millisecond
)

// faults injects faults into connections until over is set. Each connection fails after a
// random number of bytes in one direction, by a reset or by a regular close, and some stall
// before that. Transfers are delayed at random.
type faults struct {
	seed        uint64
	over        atomic.Bool
	connections atomic.Uint64

	cuts, stalls, delays atomic.Int64
}

// listener accepts connections with faults.
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
	return l.faults.wrap(conn), nil
}

// wrap chooses the faults of a connection.
func (f *faults) wrap(conn net.Conn) *faultyConn {
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
	case 0, 1, 2: // in the headers or in small content
		fails.left = random.Int64N(4 << 10)
	case 3, 4, 5, 6: // mostly in a blob
		fails.left = random.Int64N(1 << 20)
	default:
		fails.left = random.Int64N(16 << 20)
	}
	return c
}

// faultyConn is the server side of a connection.
type faultyConn struct {
	net.Conn
	faults  *faults
	in, out direction
	reset   bool // fail with a reset instead of a regular close
	stall   bool // stall before failing
	close   sync.Once
	closed  chan struct{}
}

// direction is one direction of a connection. It is used by one goroutine at a time.
type direction struct {
	left   int64 // bytes until the connection fails
	random *rand.Rand
}

// Read implements net.Conn. If the connection fails, it returns the content before the failure.
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

// Write implements net.Conn. If the connection fails, it sends the content before the failure.
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

// delay delays a direction at random.
func (c *faultyConn) delay(d *direction) {
	if d.random.IntN(100) == 0 {
		c.faults.delays.Add(1)
		c.wait(time.Duration(d.random.Int64N(int64(maxDelay))))
	}
}

// fail closes the connection, after a stall if one was chosen.
func (c *faultyConn) fail() error {
	if c.stall {
		c.faults.stalls.Add(1)
		c.wait(stallDuration)
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
