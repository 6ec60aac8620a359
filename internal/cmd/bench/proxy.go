package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// proxy is a TCP proxy in front of a registry. It delays content according to its line and
// counts connections and bytes.
type proxy struct {
	address     string
	listener    net.Listener
	connections atomic.Int64
	bytes       atomic.Int64 // delivered, in both directions
	open        sync.WaitGroup
}

// listen starts a proxy in front of the registry at backend. Its connections are closed when
// ctx ends.
func listen(ctx context.Context, backend string, l line) (*proxy, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{address: listener.Addr().String(), listener: listener}
	p.open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed by close
			}
			p.connections.Add(1)
			p.open.Go(func() { p.join(ctx, conn, backend, l) })
		}
	})
	return p, nil
}

// close stops accepting connections and waits until the existing ones have ended. Afterwards
// the counts are complete.
func (p *proxy) close() {
	_ = p.listener.Close()
	p.open.Wait()
}

// join connects a client to the backend until both directions have ended.
func (p *proxy) join(ctx context.Context, client net.Conn, backend string, l line) {
	defer client.Close()
	opened := time.Now()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", backend)
	if err != nil {
		return // the deferred Close ends the client's connection
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = client.Close()
		_ = server.Close()
	})
	defer stop()
	var directions sync.WaitGroup
	for _, d := range [][2]net.Conn{{server, client}, {client, server}} {
		directions.Go(func() { p.forward(ctx, d[0], d[1], opened, l) })
	}
	directions.Wait()
}

// forward copies one direction until it ends, and then closes the write side of to. If it
// fails, it closes the whole connection.
func (p *proxy) forward(ctx context.Context, to, from net.Conn, opened time.Time, l line) {
	n, err := l.forward(ctx, to, from, opened)
	p.bytes.Add(n)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		_, _ = to.Close(), from.Close()
	}
}

// line is a simulated network path.
type line struct {
	rtt time.Duration
	// cap limits the bytes per second in each direction of a connection. It is unlimited if 0.
	cap int64
}

const (
	chunkSize = 64 << 10
	// window is the maximum number of chunks in flight in one direction of a connection: 16
	// MiB, more than the registries here send per round trip.
	window = 256
)

// chunk is the content of one read, with the time at which it arrives at the other end.
type chunk struct {
	buffer *[chunkSize]byte
	size   int
	due    time.Time
}

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// forward copies from one end of a connection, opened at the given time, to the other. It
// delays the content according to the line and returns how many bytes arrived. The end of from
// is not an error.
func (l line) forward(ctx context.Context, to io.Writer, from io.Reader, opened time.Time) (int64, error) {
	if l == (line{}) {
		return io.Copy(to, from) // copied by the kernel
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	inFlight := make(chan chunk, window)
	var readErr error
	go func() {
		defer close(inFlight)
		readErr = l.read(ctx, inFlight, from, opened)
	}()
	var n int64
	for c := range inFlight {
		if wait := time.Until(c.due); wait > 0 {
			<-time.After(wait)
		}
		written, err := to.Write(c.buffer[:c.size])
		n += int64(written)
		chunks.Put(c.buffer)
		if err != nil {
			return n, err
		}
	}
	return n, readErr
}

// read reads from until it or ctx ends, and computes when each chunk arrives.
func (l line) read(ctx context.Context, inFlight chan<- chunk, from io.Reader, opened time.Time) error {
	free := opened // when the line can send the next byte
	for {
		buffer := chunks.Get().(*[chunkSize]byte)
		n, err := from.Read(buffer[:])
		if n > 0 {
			sent := l.sent(time.Now(), opened)
			if l.cap > 0 {
				if sent.Before(free) {
					sent = free
				}
				free = sent.Add(time.Duration(n) * time.Second / time.Duration(l.cap))
				sent = free
			}
			select {
			case inFlight <- chunk{buffer, n, sent.Add(l.rtt / 2)}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
	}
}

// sent returns when a byte that was read at now could have been sent. A client sends as soon as
// the proxy accepts its connection, which is a round trip earlier than on a real line.
func (l line) sent(now, opened time.Time) time.Time {
	if open := opened.Add(l.rtt); now.Before(open) {
		return open
	}
	return now
}
