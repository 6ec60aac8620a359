package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// registry is a minimal registry client, so that the demo does not verify the provider with the
// provider's own code.
type registry struct{ host string }

// push pushes an image with a tag. It pushes content before the manifests that refer to it.
func (r registry) push(ctx context.Context, repository, tag string, i image) error {
	for _, blob := range i.blobs {
		if err := r.pushBlob(ctx, repository, blob); err != nil {
			return err
		}
	}
	for _, child := range i.children() {
		if err := r.pushManifest(ctx, repository, child.digest(), child); err != nil {
			return err
		}
	}
	return r.pushManifest(ctx, repository, tag, i.root())
}

func (r registry) pushBlob(ctx context.Context, repository string, blob []byte) error {
	start := request{method: http.MethodPost, url: r.url(repository, "blobs/uploads/"), want: http.StatusAccepted}
	header, _, err := start.do(ctx)
	if err != nil {
		return err
	}
	location, err := start.url.Parse(header.Get("Location"))
	if err != nil {
		return err
	}
	query := location.Query()
	query.Set("digest", digestOf(blob))
	location.RawQuery = query.Encode()
	_, _, err = request{method: http.MethodPut, url: location, contentType: "application/octet-stream", body: blob, want: http.StatusCreated}.do(ctx)
	return err
}

func (r registry) pushManifest(ctx context.Context, repository, reference string, m manifest) error {
	_, _, err := request{method: http.MethodPut, url: r.url(repository, "manifests/"+reference),
		contentType: m.mediaType, body: m.content, want: http.StatusCreated}.do(ctx)
	return err
}

// manifest returns the manifest with the given tag or digest.
func (r registry) manifest(ctx context.Context, repository, reference string) (manifest, error) {
	header, content, err := request{method: http.MethodGet, url: r.url(repository, "manifests/"+reference), want: http.StatusOK, accept: []string{
		ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, dockerManifest,
	}}.do(ctx)
	return manifest{mediaType: header.Get("Content-Type"), content: content}, err
}

func (r registry) blob(ctx context.Context, repository, digest string) ([]byte, error) {
	_, content, err := request{method: http.MethodGet, url: r.url(repository, "blobs/"+digest), want: http.StatusOK}.do(ctx)
	return content, err
}

func (r registry) url(repository, path string) *url.URL {
	return &url.URL{Scheme: "http", Host: r.host, Path: "/v2/" + repository + "/" + path}
}

// request is an HTTP request and the expected status of its response.
type request struct {
	method      string
	url         *url.URL
	accept      []string
	contentType string
	body        []byte
	want        int
}

var client = http.Client{Timeout: time.Minute}

// do sends the request and returns the header and the whole body of the response. It returns an
// error if the status differs from r.want.
func (r request) do(ctx context.Context) (http.Header, []byte, error) {
	failed := func(why any) error { return fmt.Errorf("%s %s: %v", r.method, r.url, why) }
	httpRequest, err := http.NewRequestWithContext(ctx, r.method, r.url.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, nil, err
	}
	httpRequest.Header["Accept"] = r.accept
	if r.contentType != "" {
		httpRequest.Header.Set("Content-Type", r.contentType)
	}
	response, err := client.Do(httpRequest)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, nil, failed(err)
	}
	if response.StatusCode != r.want {
		return nil, nil, failed(response.Status + ": " + strings.TrimSpace(string(content)))
	}
	return response.Header, content, nil
}
