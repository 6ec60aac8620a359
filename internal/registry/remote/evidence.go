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

// evidence records whether a host has proved to be a registry. Only a 404 from a registry
// may remove a resource from the state: a gateway that has lost its route also responds with
// an error document. Evidence lasts as long as the client, so that a host is probed at most
// once. The zero value is ready to use.
type evidence struct {
	// registry is set once a response from the host's origin could only come from a
	// registry.
	registry atomic.Bool

	mu              sync.Mutex
	running         chan struct{} // closed when the current probe ends; nil if there is none
	probed          bool
	answered        bool        // the host has responded to /v2/
	challengeHeader http.Header // of the 401 response to /v2/; nil for any other response
}

// record records what the header of a response from the host's origin shows.
func (e *evidence) record(resp *http.Response) {
	if !e.registry.Load() && (hasRegistryHeader(resp.Header) || resp.StatusCode == http.StatusUnauthorized && auth.IsTokenChallenge(resp.Header)) {
		e.registry.Store(true)
	}
}

// hasRegistryHeader reports whether header has a field that only registries send (OCI
// distribution specification, "Legacy Docker support HTTP headers", and fields that begin
// with OCI-).
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

// once calls probe unless an earlier call returned true. Concurrent callers wait for the
// current call.
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

// challenge returns the header of the 401 response to /v2/, or nil if there was none. It
// also reports whether the host has responded to /v2/ at all.
func (e *evidence) challenge() (header http.Header, answered bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.challengeHeader, e.answered
}

// probeAPI requests /v2/ in the held slot and records whether the response proves that the
// host is a registry. It succeeds at most once per host. Proof is a registry header, a
// token challenge, the error document of a 401, or the empty object that Docker's registry
// returns (OCI distribution specification, "Determining Support"). A failed request proves
// nothing.
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
		e.record(resp)
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

// bufferBody reads the body of a failed response into memory and closes it, so that the
// next request can use the slot. The body of resp can still be read afterwards.
func bufferBody(resp *http.Response) []byte {
	body, err := registry.ReadLimited(resp.Body, maxErrorBytes)
	resp.Body.Close()
	resp.Body = &bufferedBody{content: body, err: err}
	return body
}

// bufferedBody is a body that was read into memory. err is the error that ended reading, or
// nil at the end of the body.
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
