package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/child"
)

// registryPair is a source and a destination registry, both with plain HTTP or both with TLS.
type registryPair struct {
	source, destination *registry
	ca                  string // file with the authority's certificate; "" for plain HTTP
	client              *http.Client
}

// scheme returns the scheme of the registries' URLs.
func (l *registryPair) scheme() string {
	if l.ca == "" {
		return "http"
	}
	return "https"
}

// startRegistries starts both registries with the content of the directories source and
// destination of b.dir. The caller must close the result.
func (b *bench) startRegistries(ctx context.Context, tls bool) (*registryPair, error) {
	l := &registryPair{}
	var flags []string
	if tls {
		files, err := newAuthority(b.dir)
		if err != nil {
			return nil, err
		}
		l.ca, flags = files.ca, []string{"-tls-cert", files.cert, "-tls-key", files.key}
	}
	var err error
	if l.client, err = newClient(l.ca); err != nil {
		return nil, err
	}
	for side, r := range map[string]**registry{"source": &l.source, "destination": &l.destination} {
		root := filepath.Join(b.dir, side)
		if err := os.MkdirAll(root, 0o700); err != nil {
			return nil, errors.Join(err, l.close())
		}
		process, err := child.StartRegistry(ctx, filepath.Join(b.bin, "registry-v3"), append(flags, "-root", root)...)
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		*r = &registry{Registry: process, root: root, base: l.scheme() + "://" + process.Address, client: l.client}
	}
	return l, nil
}

// close stops the registries.
func (l *registryPair) close() error {
	var errs []error
	for _, r := range []*registry{l.source, l.destination} {
		if r != nil {
			errs = append(errs, r.Stop())
		}
	}
	return errors.Join(errs...)
}

// requests returns the number of requests to both registries, by method.
func (l *registryPair) requests(ctx context.Context) (map[string]int, error) {
	total := map[string]int{}
	for _, r := range []*registry{l.source, l.destination} {
		counts, err := r.requests(ctx)
		if err != nil {
			return nil, err
		}
		for method, n := range counts {
			total[method] += n
		}
	}
	return total, nil
}

// check compares the tag of each copy with the source and describes the first difference, or
// returns "". Comparing digests is enough, because a registry rejects a manifest with missing
// content.
func (l *registryPair) check(ctx context.Context, pairs []pair) string {
	for _, p := range pairs {
		found, err := l.destination.digest(ctx, p.repository)
		if err != nil {
			return err.Error()
		}
		if found != p.digest {
			return fmt.Sprintf("%s holds %s and not %s", p.repository, found, p.digest)
		}
	}
	return ""
}
