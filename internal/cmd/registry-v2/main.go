// Command registry-v2 serves Docker's former registry, docker/distribution 2.8.3, in memory on
// a free loopback port, and prints its host:port. It is meant for tests and demonstrations.
// -help lists its flags.
package main

import (
	"context"
	"net/http"

	"github.com/docker/distribution/configuration"
	_ "github.com/docker/distribution/registry/auth/htpasswd"
	_ "github.com/docker/distribution/registry/auth/token"
	"github.com/docker/distribution/registry/handlers"
	_ "github.com/docker/distribution/registry/storage/driver/filesystem"
	_ "github.com/docker/distribution/registry/storage/driver/inmemory"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/serve"
)

func main() { serve.Main(open) }

func open(config serve.Config) (http.Handler, error) {
	options := &configuration.Configuration{
		Storage: serve.Storage[configuration.Storage](config),
		Auth:    serve.Authentication[configuration.Auth](config),
	}
	options.Compatibility.Schema1.Enabled = config.Schema1
	return handlers.NewApp(context.Background(), options), nil
}
