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

// server is distribution v3 in this process, behind connections that have
// faults and tokens that expire.
type server struct {
	host    string // and port
	storage memory
	// content is what the registry holds, past connections and tokens: what is
	// read here was not touched by anything that the engine uses.
	content distribution.Namespace
	// gate has a place for each request, and all of them for a collection of
	// garbage.
	gate    *semaphore.Weighted
	tokens  *tokens
	app     *handlers.App
	http    *http.Server
	serving sync.WaitGroup
}

// everybody is more than the requests that there can be at a time.
const everybody = 1 << 20

// openServer starts an empty registry. Close it.
func openServer(ctx context.Context, f *faults, w *wires) (*server, error) {
	conns, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{host: conns.Addr().String(), storage: memory{inmemory.New()}, gate: semaphore.NewWeighted(everybody)}
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
	front.Handle("/", s.gated(s.app))
	s.http = &http.Server{Handler: front, ErrorLog: log.New(io.Discard, "", 0), ConnState: w.served}
	s.serving.Go(func() { _ = s.http.Serve(listener{conns, f}) }) // until close
	return s, nil
}

// gated lets requests wait while the gate is shut.
func (s *server) gated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if s.gate.Acquire(req.Context(), 1) != nil {
			panic(http.ErrAbortHandler) // nobody waits for the answer any more
		}
		defer s.gate.Release(1)
		next.ServeHTTP(w, req)
	})
}

// holding does something while no garbage is collected.
func (s *server) holding(ctx context.Context, do func() error) error {
	if err := s.gate.Acquire(ctx, 1); err != nil {
		return err
	}
	defer s.gate.Release(1)
	return do()
}

// close ends the registry and all connections to it.
func (s *server) close() {
	_ = s.http.Close()
	s.serving.Wait()
	_ = s.app.Shutdown() // which has nothing that could fail
}
