package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var manifestTypes = []string{ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest}

// do sends a request. Its body is the content of b, if b is not empty.
func do(ctx context.Context, client *http.Client, method, address string, b blob) (*http.Response, error) {
	var body io.Reader
	if b.open != nil {
		body = b.open()
	}
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	request.ContentLength = b.size
	request.Header["Accept"] = manifestTypes
	if b.mediaType != "" {
		request.Header.Set("Content-Type", b.mediaType)
	}
	return client.Do(request)
}

// send sends a request like do, reads the response to its end and returns its header. It
// returns an error if the status differs from want.
func send(ctx context.Context, client *http.Client, method, address string, b blob, want int) (http.Header, error) {
	response, err := do(ctx, client, method, address, b)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if response.StatusCode != want {
		err = fmt.Errorf("%s %s: %s: %s", method, response.Request.URL.Path, response.Status, strings.TrimSpace(string(content)))
	}
	return response.Header, err
}

// withDigest returns the path and query that complete the upload session at location.
func withDigest(location string, d digest.Digest) (string, error) {
	session, err := url.Parse(location)
	if err != nil {
		return "", err
	}
	query := session.Query()
	query.Set("digest", d.String())
	session.RawQuery = query.Encode()
	return session.RequestURI(), nil
}
