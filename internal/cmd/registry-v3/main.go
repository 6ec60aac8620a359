// Command registry-v3 serves the registry of the distribution project, version
// 3, from memory on a free port of loopback, and prints its host:port. It is
// for tests and demonstrations; -help lists what it can be told.
package main

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/auth/token"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sirupsen/logrus"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/serve"
)

func main() { serve.Main(open) }

func open(config serve.Config) (http.Handler, error) {
	if config.Schema1 {
		return nil, errors.New("distribution v3 knows no schema 1: use registry-v2")
	}
	if !config.Verbose {
		logrus.SetOutput(io.Discard)
	}
	return handlers.NewApp(context.Background(), &configuration.Configuration{
		Storage: storage(config),
		Auth:    auth(config),
	}), nil
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
		return configuration.Auth{"htpasswd": {"realm": "registry-v3", "path": config.Htpasswd}}
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
