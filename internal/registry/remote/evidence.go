package remote

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// evidence records whether a host has shown that it is a registry. Only a
// registry's 404 may remove a resource from the state; a gateway that lost its
// route answers with an error document too. Evidence lives as long as the
// client, so that a host is asked at most once. The zero value is ready to use.
type evidence struct {
	// registry is set once any answer of the host's origin could only be a registry's.
	registry atomic.Bool

	mu              sync.Mutex
	running         chan struct{} // closed when the request in progress ends; nil if there is none
	probed          bool
	answered        bool        // /v2/ was answered
	challengeHeader http.Header // of the 401 response to /v2/, nil for any other response
}

// note records what the header of an answer of the host's origin shows.
func (e *evidence) note(resp *http.Response) {
	if !e.registry.Load() && (hasRegistryHeader(resp.Header) || resp.StatusCode == http.StatusUnauthorized && auth.IsTokenChallenge(resp.Header)) {
		e.registry.Store(true)
	}
}

// hasRegistryHeader reports whether a header has a field that only registries send (OCI distribution
// specification, "Legacy Docker support HTTP headers" and the fields that begin with OCI-).
func hasRegistryHeader(header http.Header) bool {
	for name := range header {
		switch name {
		case "Docker-Distribution-Api-Version", "Docker-Content-Digest", "Docker-Upload-Uuid":
			return true
		}
		if strings.HasPrefix(name, "Oci-") {
			return true
		}
	}
	return false
}

// once calls ask unless an earlier call returned true. A concurrent caller
// waits for a call in progress.
func (e *evidence) once(ctx context.Context, probe func() bool) {
	for {
		e.mu.Lock()
		running := e.running
		if e.probed || running == nil {
			break
		}
		e.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return
		}
	}
	if e.probed {
		e.mu.Unlock()
		return
	}
	done := make(chan struct{})
	e.running = done
	e.mu.Unlock()
	succeeded := probe()
	e.mu.Lock()
	e.probed, e.running = succeeded, nil
	e.mu.Unlock()
	close(done)
}

// challenge returns the header of the 401 response to /v2/, nil if there was none,
// and reports whether /v2/ was answered at all.
func (e *evidence) challenge() (header http.Header, answered bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.challengeHeader, e.answered
}

// probeAPI sends a request to /v2/ in the slot that is held, at most once for a host, and records what the answer
// shows: a header, a challenge for a token, the error document of a refusal, or the empty object that the
// original registry answers with (OCI distribution specification, "Determining Support"). A failure shows nothing.
func (r *repository) probeAPI(ctx context.Context, held *heldSlot) {
	e := &r.host.evidence
	e.once(ctx, func() bool {
		u := *r.host.origin
		u.Path = "/v2/"
		q := request{object: "support", method: http.MethodGet, url: &u}
		resp, err := r.follow(ctx, q, held, "", false)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		if resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests {
			return false
		}
		e.mu.Lock()
		e.answered = true
		e.mu.Unlock()
		if !r.host.isOrigin(resp.Request.URL) {
			return true
		}
		e.note(resp)
		body, err := registry.ReadLimited(resp.Body, maxErrorBytes)
		switch {
		case err != nil:
		case resp.StatusCode == http.StatusUnauthorized && slices.Contains(loginCodes, codeOf(body)), resp.StatusCode == http.StatusOK && string(bytes.TrimSpace(body)) == "{}":
			e.registry.Store(true)
		}
		if resp.StatusCode == http.StatusUnauthorized {
			e.mu.Lock()
			e.challengeHeader = resp.Header
			e.mu.Unlock()
		}
		return true
	})
}

// readAhead reads the body of a failure, so that it is over when the next request is sent in its slot. The body of
// the answer can still be read afterwards.
func bufferBody(resp *http.Response) []byte {
	body, err := registry.ReadLimited(resp.Body, maxErrorBytes)
	resp.Body.Close()
	resp.Body = &bufferedBody{content: body, err: err}
	return body
}

// bodyRead is a body that was read, and what reading it ended with; nil for the end.
type bufferedBody struct {
	content []byte
	err     error
}

func (b *bufferedBody) Read(p []byte) (int, error) {
	if b.err != nil || len(b.content) == 0 {
		return 0, cmp.Or(b.err, io.EOF)
	}
	n := copy(p, b.content)
	b.content = b.content[n:]
	return n, nil
}

func (b *bufferedBody) Close() error { return nil }
