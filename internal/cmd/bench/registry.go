package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/child"
)

// registry is a registry of the bench, reached without a proxy.
type registry struct {
	*child.Registry
	root   string // where it keeps its content
	base   string // scheme://host:port
	client *http.Client
}

// empty removes all that the registry holds. It keeps nothing in memory.
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

// requests is how many requests it had, by method.
func (r *registry) requests(ctx context.Context) (map[string]int, error) {
	answer, err := do(ctx, r.client, http.MethodGet, r.base+"/requests", blob{})
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var counts map[string]int
	err = json.NewDecoder(answer.Body).Decode(&counts)
	return counts, err
}

// digest is what a tag holds.
func (r *registry) digest(ctx context.Context, repository string) (string, error) {
	header, err := r.send(ctx, http.MethodHead, "/v2/"+repository+"/manifests/"+tag, blob{}, http.StatusOK)
	return header.Get("Docker-Content-Digest"), err
}

// send sends a request to a path of the registry and wants that status.
func (r *registry) send(ctx context.Context, method, path string, b blob, want int) (http.Header, error) {
	return send(ctx, r.client, method, r.base+path, b, want)
}
