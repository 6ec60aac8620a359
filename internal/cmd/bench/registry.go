package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/child"
)

// registry is a registry of the benchmark, accessed without a proxy.
type registry struct {
	*child.Registry
	root   string // directory of its content
	base   string // scheme://host:port
	client *http.Client
}

// empty removes all content of the registry, which does not cache content in memory.
func (r *registry) empty() error {
	entries, err := os.ReadDir(r.root)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(r.root, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// requests returns the number of requests to the registry, by method.
func (r *registry) requests(ctx context.Context) (map[string]int, error) {
	response, err := do(ctx, r.client, http.MethodGet, r.base+"/requests", blob{})
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var counts map[string]int
	err = json.NewDecoder(response.Body).Decode(&counts)
	return counts, err
}

// digest returns the digest of the manifest that the tag refers to.
func (r *registry) digest(ctx context.Context, repository string) (string, error) {
	header, err := r.send(ctx, http.MethodHead, "/v2/"+repository+"/manifests/"+tag, blob{}, http.StatusOK)
	return header.Get("Docker-Content-Digest"), err
}

// send sends a request to a path of the registry. It returns an error if the status differs
// from want.
func (r *registry) send(ctx context.Context, method, path string, b blob, want int) (http.Header, error) {
	return send(ctx, r.client, method, r.base+path, b, want)
}
