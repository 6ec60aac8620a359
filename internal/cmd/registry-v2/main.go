// Command registry-v2 serves Docker's registry of before, docker/distribution
// 2.8.3, from memory on a free port of loopback, and prints its host:port. It is
// for tests and demonstrations; -help lists what it can be told.
package main

import (
	"context"
	"io"
	"net/http"

	"github.com/docker/distribution/configuration"
	_ "github.com/docker/distribution/registry/auth/htpasswd"
	_ "github.com/docker/distribution/registry/auth/token"
	"github.com/docker/distribution/registry/handlers"
	_ "github.com/docker/distribution/registry/storage/driver/filesystem"
	_ "github.com/docker/distribution/registry/storage/driver/inmemory"
	"github.com/sirupsen/logrus"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/serve"
)

func main() { serve.Main(open) }

func open(config serve.Config) (http.Handler, error) {
	if !config.Verbose {
		logrus.SetOutput(io.Discard)
	}
	options := &configuration.Configuration{Storage: storage(config), Auth: auth(config)}
	options.Compatibility.Schema1.Enabled = config.Schema1
	return handlers.NewApp(context.Background(), options), nil
}

func storage(config serve.Config) configuration.Storage {
	storage := configuration.Storage{
		"delete":   {"enabled": config.Delete},
		"redirect": {"disable": true},
		"maintenance": {
			"uploadpurging": map[any]any{"enabled": false},
			"readonly":      map[any]any{"enabled": config.ReadOnly},
		},
	}
	if config.Root != "" {
		storage["filesystem"] = configuration.Parameters{"rootdirectory": config.Root}
	} else {
		storage["inmemory"] = nil
	}
	return storage
}

func auth(config serve.Config) configuration.Auth {
	switch {
	case config.Htpasswd != "":
		return configuration.Auth{"htpasswd": {"realm": "registry-v2", "path": config.Htpasswd}}
	case config.Token.Realm != "":
		return configuration.Auth{"token": {
			"realm":          config.Token.Realm,
			"service":        config.Token.Service,
			"issuer":         config.Token.Issuer,
			"rootcertbundle": config.Token.RootCert,
		}}
	}
	return nil
}
