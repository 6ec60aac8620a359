// Command registry-v3 serves the registry of the distribution project, version 3, in memory on
// a free loopback port, and prints its host:port. It is meant for tests and demonstrations.
// -help lists its flags.
package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/auth/token"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/serve"
)

func main() { serve.Main(open) }

func open(config serve.Config) (http.Handler, error) {
	if config.Schema1 {
		return nil, errors.New("distribution v3 knows no schema 1: use registry-v2")
	}
	return handlers.NewApp(context.Background(), &configuration.Configuration{
		Storage: serve.Storage[configuration.Storage](config),
		Auth:    serve.Authentication[configuration.Auth](config),
	}), nil
}
