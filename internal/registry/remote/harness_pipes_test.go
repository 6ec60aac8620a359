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

// pipeHost is the registry of a pipeNetwork.
const pipeHost = "127.0.0.1:5000"

// pipeNetwork is a network of pipes with one server, for use with a fake clock. Unlike a
// real socket, a pipe does not keep the clock of synctest from advancing.
type pipeNetwork struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// servePipes starts a server that handles connections to every address of a network of
// pipes. Use it inside synctest.Test.
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
		stop() // handlers that wait for the end of their request
		_ = server.Close()
		serving.Wait()
	})
	return m
}

// options connects a client to the network, with the default number of attempts and the
// default backoff.
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

// Accept, Close and Addr implement net.Listener.
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

// clock records when events happened.
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

// elapsed returns the time since the clock was created.
func (c *clock) elapsed() time.Duration { return time.Since(c.began) }
