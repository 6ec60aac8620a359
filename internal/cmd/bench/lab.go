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

// lab is a source and a destination that speak plain HTTP, or TLS.
type lab struct {
	source, destination *registry
	ca                  string // the authority's certificate, a file; "" for plain HTTP
	client              *http.Client
}

// scheme is that of the registries' URLs.
func (l *lab) scheme() string {
	if l.ca == "" {
		return "http"
	}
	return "https"
}

// openLab starts both registries on what is in the directories source and
// destination of dir. Close it.
func (b *bench) openLab(ctx context.Context, tls bool) (*lab, error) {
	l := &lab{}
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

// close stops what runs.
func (l *lab) close() error {
	var errs []error
	for _, r := range []*registry{l.source, l.destination} {
		if r != nil {
			errs = append(errs, r.Stop())
		}
	}
	return errors.Join(errs...)
}

// requests is how many requests both registries had, by method.
func (l *lab) requests(ctx context.Context) (map[string]int, error) {
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

// check says what is wrong with the copies: each tag has to hold what the source
// holds. A registry takes no manifest without what it names.
func (l *lab) check(ctx context.Context, pairs []pair) string {
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
