package remote_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// memoryHost is the registry that a memory network has.
const pipeHost = "127.0.0.1:5000"

// memory is a network of pipes with one server on it, so that time can be the
// test's own: it does not pass while a real socket is waited for.
type pipeNetwork struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// serveMemory starts a server for every address of a network of pipes. It is
// for use inside of synctest.Test.
func servePipes(t *testing.T, handler http.HandlerFunc) *pipeNetwork {
	t.Helper()
	m := &pipeNetwork{conns: make(chan net.Conn), closed: make(chan struct{})}
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	server := &http.Server{
		Handler: handler, ErrorLog: discardLog, BaseContext: func(net.Listener) context.Context { return ctx },
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				serving.Add(1)
			case http.StateClosed, http.StateHijacked:
				serving.Done()
			}
		},
	}
	serving.Go(func() { _ = server.Serve(m) })
	t.Cleanup(func() {
		stop() // whoever waits in a handler
		_ = server.Close()
		serving.Wait()
	})
	return m
}

// options put a client on the network, with the attempts and times that it has
// by default.
func (m *pipeNetwork) options(o *remote.Options) {
	o.Dial = m.dial
	o.Backoff = 0
}

func (m *pipeNetwork) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-m.closed:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept, Close and Addr make it a net.Listener.
func (m *pipeNetwork) Accept() (net.Conn, error) {
	select {
	case conn := <-m.conns:
		return conn, nil
	case <-m.closed:
		return nil, errors.New("closed")
	}
}

func (m *pipeNetwork) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *pipeNetwork) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5000} }

// clock notes when something happened.
type clock struct {
	began time.Time
	mu    sync.Mutex
	at    []time.Duration
}

func newClock() *clock { return &clock{began: time.Now()} }

func (c *clock) note() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = append(c.at, time.Since(c.began))
	return len(c.at)
}

func (c *clock) times() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Duration(nil), c.at...)
}

// passed is the time since the clock began.
func (c *clock) elapsed() time.Duration { return time.Since(c.began) }
