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

// proxy stands before a registry, as far away as its line says, and counts what
// passes.
type proxy struct {
	address     string
	listener    net.Listener
	connections atomic.Int64
	bytes       atomic.Int64 // delivered, in both directions
	open        sync.WaitGroup
}

// listen starts a proxy before the registry at backend. When ctx ends, so do its
// connections.
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
				return // close closed it
			}
			p.connections.Add(1)
			p.open.Go(func() { p.join(ctx, conn, backend, l) })
		}
	})
	return p, nil
}

// close takes no more connections and waits until those that there are have
// ended. Afterwards the counts are complete.
func (p *proxy) close() {
	_ = p.listener.Close()
	p.open.Wait()
}

// join connects a client with the backend until both directions have ended.
func (p *proxy) join(ctx context.Context, client net.Conn, backend string, l line) {
	defer client.Close()
	opened := time.Now()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", backend)
	if err != nil {
		return // the client sees its connection end
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = client.Close()
		_ = server.Close()
	})
	defer stop()
	var directions sync.WaitGroup
	for _, d := range [][2]net.Conn{{server, client}, {client, server}} {
		directions.Go(func() { p.carry(ctx, d[0], d[1], opened, l) })
	}
	directions.Wait()
}

// carry carries one direction to its end, and then ends that of to. Where it
// fails it ends the whole connection.
func (p *proxy) carry(ctx context.Context, to, from net.Conn, opened time.Time, l line) {
	n, err := l.carry(ctx, to, from, opened)
	p.bytes.Add(n)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		_, _ = to.Close(), from.Close()
	}
}

// line is how far away something is.
type line struct {
	rtt time.Duration
	// cap is how many bytes a second one direction of a connection carries; 0
	// for as many as come.
	cap int64
}

const (
	chunkSize = 64 << 10
	// window is how many chunks are on their way in one direction of a
	// connection: 16 MiB, more than a round trip of it carries here.
	window = 256
)

// chunk is what was read at once, and when it arrives at the other end.
type chunk struct {
	buffer *[chunkSize]byte
	size   int
	due    time.Time
}

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// carry copies from one end of a connection that was opened then to the other,
// as late as the line makes it, and returns how many bytes arrived. An end of
// from arrives like all before it, and is no error.
func (l line) carry(ctx context.Context, to io.Writer, from io.Reader, opened time.Time) (int64, error) {
	if l == (line{}) {
		return io.Copy(to, from) // the kernel does it
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	underway := make(chan chunk, window)
	var readErr error
	go func() {
		defer close(underway)
		readErr = l.read(ctx, underway, from, opened)
	}()
	var n int64
	for c := range underway {
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

// read reads from until its end or ctx's, and says when each chunk arrives.
func (l line) read(ctx context.Context, underway chan<- chunk, from io.Reader, opened time.Time) error {
	free := opened // when the line can take the next byte
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
			case underway <- chunk{buffer, n, sent.Add(l.rtt / 2)}:
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

// sent is when a byte that was read now could have been sent: a client believes
// that its connection is open as soon as the proxy accepts it, a round trip
// before it would be.
func (l line) sent(now, opened time.Time) time.Time {
	if open := opened.Add(l.rtt); now.Before(open) {
		return open
	}
	return now
}
