package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// raw is the baseline: a copier that does not verify, hash or retry anything and sends no
// request that it can avoid. It transfers up to sixteen blobs concurrently over HTTP/1.1. A
// real copier can approach its speed, but has more to do.
type raw struct {
	client *http.Client
	scheme string
	slots  chan struct{}
}

func newRaw(client *http.Client, scheme string) *raw {
	return &raw{client: client, scheme: scheme, slots: make(chan struct{}, 16)}
}

// newClient returns a client that trusts the authority in the file ca, if ca is not "", and
// keeps as many idle connections as raw uses.
func newClient(ca string) (*http.Client, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	if ca != "" {
		content, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("%s holds no certificate", ca)
		}
		// A transport with its own TLS configuration does not use HTTP/2.
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport}, nil
}

// runRaw implements the subcommand raw [-ca FILE] SRC DST.
func runRaw(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench raw", flag.ContinueOnError)
	ca := flags.String("ca", "", "use TLS, and trust the certificate authority in this PEM `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 2 {
		return errors.New("usage: bench raw [-ca FILE] SRC DST")
	}
	scheme := "http"
	if *ca != "" {
		scheme = "https"
	}
	client, err := newClient(*ca)
	if err != nil {
		return err
	}
	return newRaw(client, scheme).copy(ctx, flags.Arg(0), flags.Arg(1))
}

// rawRepository is a repository of a registry.
type rawRepository struct{ base, repository string }

func (p rawRepository) url(path string) string { return p.base + "/v2/" + p.repository + path }

// split splits host:port/repository:tag.
func (r *raw) split(image string) (rawRepository, string, error) {
	host, path, _ := strings.Cut(image, "/")
	repository, tag, ok := strings.Cut(path, ":")
	if !ok {
		return rawRepository{}, "", fmt.Errorf("%q is not HOST:PORT/REPOSITORY:TAG", image)
	}
	return rawRepository{r.scheme + "://" + host, repository}, tag, nil
}

// copy copies an image. source and destination have the form host:port/repository:tag.
func (r *raw) copy(ctx context.Context, source, destination string) error {
	from, tag, err := r.split(source)
	if err != nil {
		return err
	}
	to, newTag, err := r.split(destination)
	if err != nil {
		return err
	}
	c := &rawCopy{raw: r, from: from, to: to, blobs: map[digest.Digest]func() error{}}
	return c.manifest(ctx, tag, newTag)
}

// rawCopy is a copy in progress.
type rawCopy struct {
	*raw
	from, to rawRepository
	mu       sync.Mutex
	blobs    map[digest.Digest]func() error // each function copies its blob once
}

// manifest copies the manifest of a reference, after all content that it refers to.
func (c *rawCopy) manifest(ctx context.Context, reference, newReference string) error {
	response, err := do(ctx, c.client, http.MethodGet, c.from.url("/manifests/"+reference), blob{})
	if err != nil {
		return err
	}
	content, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		return err
	}
	var m struct {
		Manifests, Layers []ocispec.Descriptor
		Config            ocispec.Descriptor
	}
	if err := json.Unmarshal(content, &m); err != nil {
		return err
	}
	below, belowCtx := errgroup.WithContext(ctx)
	for _, d := range m.Manifests {
		below.Go(func() error { return c.manifest(belowCtx, d.Digest.String(), d.Digest.String()) })
	}
	for _, d := range append(slices.Clone(m.Layers), m.Config) {
		if d.Digest != "" {
			below.Go(c.copyOnce(belowCtx, d))
		}
	}
	if err := below.Wait(); err != nil {
		return err
	}
	put := literal(response.Header.Get("Content-Type"), content)
	_, err = send(ctx, c.client, http.MethodPut, c.to.url("/manifests/"+newReference), put, http.StatusCreated)
	return err
}

// copyOnce returns a function that copies a blob, or waits for the copy if it is already in
// progress.
func (c *rawCopy) copyOnce(ctx context.Context, d ocispec.Descriptor) func() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blobs[d.Digest] == nil {
		c.blobs[d.Digest] = sync.OnceValue(func() error { return c.blob(ctx, d) })
	}
	return c.blobs[d.Digest]
}

// blob mounts a blob within one registry, or copies it to another.
func (c *rawCopy) blob(ctx context.Context, d ocispec.Descriptor) error {
	c.slots <- struct{}{}
	defer func() { <-c.slots }()
	uploads := c.to.url("/blobs/uploads/")
	if c.from.base == c.to.base {
		query := url.Values{"mount": {d.Digest.String()}, "from": {c.from.repository}}
		_, err := send(ctx, c.client, http.MethodPost, uploads+"?"+query.Encode(), blob{}, http.StatusCreated)
		return err
	}
	opened, err := send(ctx, c.client, http.MethodPost, uploads, blob{}, http.StatusAccepted)
	if err != nil {
		return err
	}
	session, err := withDigest(opened.Get("Location"), d.Digest)
	if err != nil {
		return err
	}
	content, err := do(ctx, c.client, http.MethodGet, c.from.url("/blobs/"+d.Digest.String()), blob{})
	if err != nil {
		return err
	}
	defer content.Body.Close()
	_, err = send(ctx, c.client, http.MethodPut, c.to.base+session, streamed(content.Body, d.Size), http.StatusCreated)
	return err
}

// streamed returns a blob that can be read once.
func streamed(content io.Reader, size int64) blob {
	return blob{"application/octet-stream", size, func() io.Reader { return content }}
}
