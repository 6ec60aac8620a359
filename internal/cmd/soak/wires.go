package main

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// wires knows both ends of the engine's connections. What was sent over one that
// the engine has given up may still be on its way: a registry can store the
// manifest of a copy that ended before.
type wires struct {
	mu   sync.Mutex
	open map[string]*wire // by the engine's end
}

type wire struct {
	given bool          // up, by the engine
	ended chan struct{} // closed when the server is done with all that was sent
}

func newWires() *wires { return &wires{open: map[string]*wire{}} }

// dial connects for the engine.
func (w *wires) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[conn.LocalAddr().String()] = &wire{ended: make(chan struct{})}
	return &wireEnd{conn, w}, nil
}

// wireEnd is the engine's end of a connection.
type wireEnd struct {
	net.Conn
	wires *wires
}

// Close implements net.Conn.
func (e *wireEnd) Close() error {
	e.wires.mu.Lock()
	if opened := e.wires.open[e.LocalAddr().String()]; opened != nil {
		opened.given = true
	}
	e.wires.mu.Unlock()
	return e.Conn.Close()
}

// served is a server's ConnState.
func (w *wires) served(conn net.Conn, state http.ConnState) {
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

// settle waits until the servers are done with what the engine has given up.
func (w *wires) settle() {
	var waited []chan struct{}
	w.mu.Lock()
	for _, opened := range w.open {
		if opened.given {
			waited = append(waited, opened.ended)
		}
	}
	w.mu.Unlock()
	for _, ended := range waited {
		<-ended
	}
}
