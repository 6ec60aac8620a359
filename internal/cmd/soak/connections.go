package main

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// connTracker tracks both ends of the engine's connections. Content may still be in transit on
// a connection that the engine has closed: a registry can store the manifest of a copy that
// already ended.
type connTracker struct {
	mu   sync.Mutex
	open map[string]*trackedConn // by the local address of the engine's end
}

type trackedConn struct {
	closed bool          // closed by the engine
	ended  chan struct{} // closed when the server has closed the connection
}

func newConnTracker() *connTracker { return &connTracker{open: map[string]*trackedConn{}} }

// dial opens a tracked connection for the engine.
func (w *connTracker) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[conn.LocalAddr().String()] = &trackedConn{ended: make(chan struct{})}
	return &clientConn{conn, w}, nil
}

// clientConn is the engine's end of a connection.
type clientConn struct {
	net.Conn
	conns *connTracker
}

// Close implements net.Conn.
func (e *clientConn) Close() error {
	e.conns.mu.Lock()
	if opened := e.conns.open[e.LocalAddr().String()]; opened != nil {
		opened.closed = true
	}
	e.conns.mu.Unlock()
	return e.Conn.Close()
}

// connState is the ConnState function of the servers.
func (w *connTracker) connState(conn net.Conn, state http.ConnState) {
	if state != http.StateClosed {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	address := conn.RemoteAddr().String()
	if opened := w.open[address]; opened != nil {
		close(opened.ended)
		delete(w.open, address)
	}
}

// settle waits until the servers have closed all connections that the engine has closed.
func (w *connTracker) settle() {
	var waited []chan struct{}
	w.mu.Lock()
	for _, opened := range w.open {
		if opened.closed {
			waited = append(waited, opened.ended)
		}
	}
	w.mu.Unlock()
	for _, ended := range waited {
		<-ended
	}
}
