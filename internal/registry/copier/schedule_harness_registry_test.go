package copier_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// faultKind is the kind of fault of a simulated registry.
type faultKind int

const (
	// faultNone means that the registry is healthy.
	faultNone faultKind = iota
	// faultSlow means that the registry sends and receives blobs at fault.rate.
	faultSlow
	// faultStalling means that the registry stops in the middle of a blob.
	faultStalling
	// faultSilent means that the registry accepts connections but never responds.
	faultSilent
	// faultRefusing means that the registry refuses connections.
	faultRefusing
	// faultFlaky means that the registry breaks the connection of the first download of each blob
	// after fault.first bytes, and responds 503 to the next request for it. Such a registry is
	// healthy: a copy retries its requests.
	faultFlaky
)

// hostFault is a kind of fault with its parameters. The first bytes of each blob are transferred at
// the normal rate of the registry, so that it appears healthy at first.
type hostFault struct {
	kind  faultKind
	first int
	rate  float64 // bytes per second
}

// hostSpec describes a simulated registry.
type hostSpec struct {
	name    string
	latency time.Duration // of a round trip
	rate    float64       // bytes per second of one connection
	shared  float64       // bytes per second of all connections, in each direction
	limit   int           // max_concurrent_requests
	fault   hostFault
}

// segment is the maximum number of bytes that are transferred in one step.
const segment = 16 << 10

// trickle is the maximum interval between two bytes of a slow registry, so that its transfers never
// stop completely.
const trickle = 20 * time.Second

// simHost is a registry in memory with the latency and rates of its spec. It implements the part of
// the OCI distribution specification that a copy uses. Like a real registry, it checks that uploads
// match their digests and that the content of a manifest exists.
type simHost struct {
	spec     hostSpec
	addr     netip.Addr
	up, down link
	report   func(format string, args ...any) // reports a violation

	mu       sync.Mutex
	inFlight map[*simConn]bool
	content  map[string]bool   // repository@digest
	tags     map[string]string // repository:tag to digest
	uploads  map[string]*simUpload
	started  int            // number of uploads started
	faults   map[string]int // faults of a flaky registry so far, by repository@digest
}

func newSimHost(spec hostSpec, addr netip.Addr, report func(format string, args ...any)) *simHost {
	return &simHost{spec: spec, addr: addr, up: link{rate: spec.shared}, down: link{rate: spec.shared}, report: report,
		inFlight: map[*simConn]bool{}, content: map[string]bool{}, tags: map[string]string{}, uploads: map[string]*simUpload{}, faults: map[string]int{}}
}

// addImage adds an image with a tag.
func (h *simHost) addImage(repository, tag string, image *simObject) {
	image.all(func(o *simObject) { h.content[repository+"@"+o.digest.String()] = true })
	h.tags[repository+":"+tag] = image.digest.String()
}

// hasImage reports whether a tag has the digest of the image and the image is complete.
func (h *simHost) hasImage(repository, tag string, image *simObject) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	complete := h.tags[repository+":"+tag] == image.digest.String()
	image.all(func(o *simObject) { complete = complete && h.content[repository+"@"+o.digest.String()] })
	return complete
}

// requestsInFlight returns the number of requests in flight.
func (h *simHost) requestsInFlight() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.inFlight)
}

// beginRequest counts the request of a connection as in flight, after its header was received.
func (h *simHost) beginRequest(c *simConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inFlight[c] = true
	if n := len(h.inFlight); n > h.spec.limit {
		h.report("%s has %d requests in flight, its limit is %d", h.spec.name, n, h.spec.limit)
	}
}

// endRequest ends the request of a connection.
func (h *simHost) endRequest(c *simConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.inFlight, c)
}

// serve handles the requests of a connection sequentially.
func (h *simHost) serve(c *simConn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 4<<10)
	for {
		r, err := http.ReadRequest(in)
		if err != nil || !c.pause(h.spec.latency) {
			return
		}
		h.beginRequest(c)
		if h.spec.fault.kind == faultSilent {
			<-c.shared.closed
			return
		}
		if !h.handle(c, r) {
			return
		}
	}
}

// handle responds to a request and reports whether the connection can be reused.
func (h *simHost) handle(c *simConn, r *http.Request) bool {
	repository, object, found := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
	if found {
		return h.handleManifest(c, r, repository, object)
	}
	repository, object, found = strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/blobs/")
	if !found {
		return h.reply(c, http.StatusNotFound, "", nil)
	}
	if upload, ok := strings.CutPrefix(object, "uploads/"); ok {
		return h.handleUpload(c, r, repository, upload)
	}
	return h.handleBlob(c, r, repository, object)
}

// reply sends a response whose body takes no time.
func (h *simHost) reply(c *simConn, status int, header string, body []byte) bool {
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\n%sContent-Length: %d\r\n\r\n", status, http.StatusText(status), header, len(body))
	h.endRequest(c)
	_, err := c.Write(append([]byte(head), body...))
	return err == nil
}

// replyError sends an error response.
func (h *simHost) replyError(c *simConn, r *http.Request, status int, code string) bool {
	if r.Method == http.MethodHead {
		return h.reply(c, status, "", nil)
	}
	return h.reply(c, status, "Content-Type: application/json\r\n", fmt.Appendf(nil, `{"errors":[{"code":%q,"message":"refused"}]}`, code))
}

func (h *simHost) handleManifest(c *simConn, r *http.Request, repository, reference string) bool {
	if r.Method == http.MethodPut {
		return h.putManifest(c, r, repository, reference)
	}
	h.mu.Lock()
	d := reference
	if !strings.Contains(d, ":") {
		d = h.tags[repository+":"+reference]
	}
	exists := h.content[repository+"@"+d]
	h.mu.Unlock()
	if !exists {
		return h.replyError(c, r, http.StatusNotFound, "MANIFEST_UNKNOWN")
	}
	o := simObjects.get(digest.Digest(d))
	header := fmt.Sprintf("Content-Type: %s\r\nDocker-Content-Digest: %s\r\n", o.mediaType, d)
	if r.Method == http.MethodHead {
		h.endRequest(c)
		_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n", header, len(o.content))
		return err == nil
	}
	if !c.pause(h.pace(&h.down, len(o.content), h.spec.rate)) {
		return false
	}
	return h.reply(c, http.StatusOK, header, o.content)
}

func (h *simHost) putManifest(c *simConn, r *http.Request, repository, reference string) bool {
	content, err := io.ReadAll(r.Body)
	if err != nil || !c.pause(h.pace(&h.up, len(content), h.spec.rate)) {
		return false
	}
	o := simObjects.get(digest.FromBytes(content))
	if o == nil || !o.manifest {
		h.report("%s/%s received a manifest with wrong bytes", h.spec.name, repository)
		return h.replyError(c, r, http.StatusBadRequest, "MANIFEST_INVALID")
	}
	h.mu.Lock()
	complete := true
	for _, needed := range o.needs {
		complete = complete && h.content[repository+"@"+needed.digest.String()]
	}
	if complete {
		h.content[repository+"@"+o.digest.String()] = true
		if !strings.Contains(reference, ":") {
			h.tags[repository+":"+reference] = o.digest.String()
		}
	}
	h.mu.Unlock()
	if !complete {
		h.report("%s/%s received a manifest before its content", h.spec.name, repository)
		return h.replyError(c, r, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
	}
	return h.reply(c, http.StatusCreated, "Docker-Content-Digest: "+o.digest.String()+"\r\n", nil)
}

func (h *simHost) handleBlob(c *simConn, r *http.Request, repository, d string) bool {
	h.mu.Lock()
	exists := h.content[repository+"@"+d]
	h.mu.Unlock()
	if !exists {
		return h.replyError(c, r, http.StatusNotFound, "BLOB_UNKNOWN")
	}
	content, status, header := simObjects.get(digest.Digest(d)).content, http.StatusOK, ""
	from, to := 0, len(content)-1
	if requested := r.Header.Get("Range"); requested != "" {
		if n, _ := fmt.Sscanf(requested, "bytes=%d-%d", &from, &to); n == 0 {
			h.report("%s received a request with the range %q", h.spec.name, requested)
		}
		status, header = http.StatusPartialContent, fmt.Sprintf("Content-Range: bytes %d-%d/%d\r\n", from, to, len(content))
	}
	content = content[from : to+1]
	breaksAt := -1
	if h.spec.fault.kind == faultFlaky && r.Method == http.MethodGet {
		switch h.nextFault(repository + "@" + d) {
		case 1:
			breaksAt = min(h.spec.fault.first, len(content)-1)
		case 2:
			return h.replyError(c, r, http.StatusServiceUnavailable, "UNAVAILABLE")
		}
	}
	_, err := fmt.Fprintf(c, "HTTP/1.1 %d %s\r\n%sDocker-Content-Digest: %s\r\nContent-Length: %d\r\n\r\n", status, http.StatusText(status), header, d, len(content))
	if err != nil || r.Method == http.MethodHead {
		h.endRequest(c)
		return err == nil
	}
	for passed := 0; passed < len(content); {
		n := h.step(c, &h.down, passed, len(content)-passed)
		if n == 0 {
			return false
		}
		if breaksAt >= 0 && passed+n > breaksAt {
			h.endRequest(c)
			return false
		}
		if passed += n; passed == len(content) {
			h.endRequest(c)
		}
		if _, err := c.Write(content[passed-n : passed]); err != nil {
			return false
		}
	}
	return true
}

// nextFault counts the requests for a blob of a flaky registry.
func (h *simHost) nextFault(blob string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults[blob]++
	return h.faults[blob]
}

// step waits for the time that the next bytes of a blob take to transfer, after passed bytes and
// with rest bytes left. It returns their number, or 0 if the connection was closed.
func (h *simHost) step(c *simConn, l *link, passed, rest int) int {
	n, rate := min(rest, segment), h.spec.rate
	switch fault := h.spec.fault; {
	case fault.kind != faultSlow && fault.kind != faultStalling:
	case passed < fault.first:
		n = min(n, fault.first-passed)
	case fault.kind == faultStalling:
		<-c.shared.closed
		return 0
	default:
		rate = fault.rate
		n = min(n, max(1, int(rate*trickle.Seconds())))
	}
	if !c.pause(h.pace(l, n, rate)) {
		return 0
	}
	return n
}

// pace returns how long the next n bytes of a connection take to transfer.
func (h *simHost) pace(l *link, n int, rate float64) time.Duration {
	return max(l.reserve(n), transferTime(n, rate))
}
