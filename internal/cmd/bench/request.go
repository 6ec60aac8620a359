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

// do sends a request with b, if it is one, as its body.
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

// send does the same, reads the answer to its end, and returns its headers.
// Another status than the wanted one is an error.
func send(ctx context.Context, client *http.Client, method, address string, b blob, want int) (http.Header, error) {
	answer, err := do(ctx, client, method, address, b)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if answer.StatusCode != want {
		err = fmt.Errorf("%s %s: %s: %s", method, answer.Request.URL.Path, answer.Status, strings.TrimSpace(string(content)))
	}
	return answer.Header, err
}

// withDigest is the path and query that end the upload session at location.
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
