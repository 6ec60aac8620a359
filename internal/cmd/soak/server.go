package main

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"golang.org/x/sync/semaphore"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/serve"
)

// server is a distribution v3 registry in this process, with connections that have faults and
// tokens that expire.
type server struct {
	host    string // host:port
	storage memory
	// content accesses the registry's content without connections and tokens. Reads do not use
	// any code of the engine.
	content distribution.Namespace
	// gate admits requests. A garbage collection acquires all of it.
	gate    *semaphore.Weighted
	tokens  *tokens
	app     *handlers.App
	http    *http.Server
	serving sync.WaitGroup
}

// gateSize is more than the maximum number of concurrent requests.
const gateSize = 1 << 20

// openServer starts an empty registry. The caller must close it.
func openServer(ctx context.Context, f *faults, w *connTracker) (*server, error) {
	conns, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{host: conns.Addr().String(), storage: memory{inmemory.New()}, gate: semaphore.NewWeighted(gateSize)}
	if s.content, err = storage.NewRegistry(ctx, s.storage, storage.EnableDelete, storage.EnableValidateImageIndexImagesExist); err != nil {
		_ = conns.Close()
		return nil, err
	}
	s.tokens = newTokens("http://" + s.host + "/token")
	section := serve.Storage[configuration.Storage](serve.Config{Delete: true})
	delete(section, "inmemory")
	section[driverName] = configuration.Parameters{"storage": s.storage}
	s.app = handlers.NewApp(ctx, &configuration.Configuration{
		Storage: section,
		Auth:    configuration.Auth{tokenAuth: {"tokens": s.tokens}},
	})
	front := http.NewServeMux()
	front.Handle("/token", s.tokens)
	front.Handle("/", s.withGate(s.app))
	s.http = &http.Server{Handler: front, ErrorLog: log.New(io.Discard, "", 0), ConnState: w.connState}
	s.serving.Go(func() { _ = s.http.Serve(listener{conns, f}) }) // returns after close
	return s, nil
}

// gated returns a handler that delays requests during a garbage collection.
func (s *server) withGate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if s.gate.Acquire(req.Context(), 1) != nil {
			panic(http.ErrAbortHandler) // the client has disconnected
		}
		defer s.gate.Release(1)
		next.ServeHTTP(w, req)
	})
}

// holding runs do while no garbage collection can run.
func (s *server) withoutSweep(ctx context.Context, do func() error) error {
	if err := s.gate.Acquire(ctx, 1); err != nil {
		return err
	}
	defer s.gate.Release(1)
	return do()
}

// close stops the registry and closes its connections.
func (s *server) close() {
	_ = s.http.Close()
	s.serving.Wait()
	_ = s.app.Shutdown() // cannot fail
}
