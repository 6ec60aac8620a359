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

// faultKind is what is wrong with a simulated registry.
type faultKind int

const (
	// faultNone: a healthy registry.
	faultNone faultKind = iota
	// faultSlow: it serves and takes the bytes of blobs at fault.rate.
	faultSlow
	// faultStalling: it stops in the middle of a blob.
	faultStalling
	// faultSilent: it accepts connections and never answers.
	faultSilent
	// faultRefusing: it refuses connections.
	faultRefusing
)

// hostFault is a kind with its numbers. The first bytes of each blob pass at the
// registry's own rate, so that it looks healthy at first.
type hostFault struct {
	kind  faultKind
	first int
	rate  float64 // bytes per second
}

// hostSpec describes a simulated registry.
type hostSpec struct {
	name    string
	latency time.Duration // a round trip
	rate    float64       // bytes per second of one connection
	shared  float64       // bytes per second of all connections, in each direction
	limit   int           // max_concurrent_requests
	fault   hostFault
}

// segment is how many bytes pass at a time.
const segment = 16 << 10

// trickle is how often a slow registry moves bytes at least, so that none of its
// transfers stands still.
const trickle = 20 * time.Second

// simHost is a registry in memory: as much of the OCI distribution specification as a
// copy asks for, at the pace of its spec. It checks what a real registry would: that
// uploads match their digests, and that what a manifest names is there.
type simHost struct {
	spec     hostSpec
	addr     netip.Addr
	up, down link
	report   func(format string, args ...any) // of a violation

	mu       sync.Mutex
	inFlight map[*simConn]bool
	has      map[string]bool   // repository@digest
	tags     map[string]string // repository:tag to digest
	uploads  map[string]*simUpload
	opened   int // uploads so far
}

func newSimHost(spec hostSpec, addr netip.Addr, report func(format string, args ...any)) *simHost {
	return &simHost{spec: spec, addr: addr, up: link{rate: spec.shared}, down: link{rate: spec.shared}, report: report,
		inFlight: map[*simConn]bool{}, has: map[string]bool{}, tags: map[string]string{}, uploads: map[string]*simUpload{}}
}

// put makes an image available under a tag.
func (h *simHost) put(repository, tag string, image *simObject) {
	image.all(func(o *simObject) { h.has[repository+"@"+o.digest.String()] = true })
	h.tags[repository+":"+tag] = image.digest.String()
}

// holds reports whether a tag names an image that is there completely.
func (h *simHost) holds(repository, tag string, image *simObject) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	complete := h.tags[repository+":"+tag] == image.digest.String()
	image.all(func(o *simObject) { complete = complete && h.has[repository+"@"+o.digest.String()] })
	return complete
}

// underWay returns the number of requests in flight.
func (h *simHost) underWay() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.inFlight)
}

// arrived counts a request from when its head has arrived.
func (h *simHost) arrived(c *simConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inFlight[c] = true
	if n := len(h.inFlight); n > h.spec.limit {
		h.report("%s has %d requests in flight, its limit is %d", h.spec.name, n, h.spec.limit)
	}
}

// left ends the request of a connection.
func (h *simHost) left(c *simConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.inFlight, c)
}

// serve answers the requests of a connection, one after the other.
func (h *simHost) serve(c *simConn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 4<<10)
	for {
		r, err := http.ReadRequest(in)
		if err != nil || !c.pause(h.spec.latency) {
			return
		}
		h.arrived(c)
		if h.spec.fault.kind == faultSilent {
			<-c.shared.closed
			return
		}
		if !h.answer(c, r) {
			return
		}
	}
}

// answer answers a request and reports whether the connection can be used again.
func (h *simHost) answer(c *simConn, r *http.Request) bool {
	repository, object, found := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
	if found {
		return h.answerManifest(c, r, repository, object)
	}
	repository, object, found = strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/blobs/")
	if !found {
		return h.reply(c, http.StatusNotFound, "", nil)
	}
	if upload, ok := strings.CutPrefix(object, "uploads/"); ok {
		return h.answerUpload(c, r, repository, upload)
	}
	return h.answerBlob(c, r, repository, object)
}

// reply sends an answer with a body that takes no time.
func (h *simHost) reply(c *simConn, status int, header string, body []byte) bool {
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\n%sContent-Length: %d\r\n\r\n", status, http.StatusText(status), header, len(body))
	h.left(c)
	_, err := c.Write(append([]byte(head), body...))
	return err == nil
}

// refuse sends an error document.
func (h *simHost) refuse(c *simConn, r *http.Request, status int, code string) bool {
	if r.Method == http.MethodHead {
		return h.reply(c, status, "", nil)
	}
	return h.reply(c, status, "Content-Type: application/json\r\n", fmt.Appendf(nil, `{"errors":[{"code":%q,"message":"refused"}]}`, code))
}

func (h *simHost) answerManifest(c *simConn, r *http.Request, repository, reference string) bool {
	if r.Method == http.MethodPut {
		return h.takeManifest(c, r, repository, reference)
	}
	h.mu.Lock()
	d := reference
	if !strings.Contains(d, ":") {
		d = h.tags[repository+":"+reference]
	}
	there := h.has[repository+"@"+d]
	h.mu.Unlock()
	if !there {
		return h.refuse(c, r, http.StatusNotFound, "MANIFEST_UNKNOWN")
	}
	o := simObjects.get(digest.Digest(d))
	header := fmt.Sprintf("Content-Type: %s\r\nDocker-Content-Digest: %s\r\n", o.mediaType, d)
	if r.Method == http.MethodHead {
		h.left(c)
		_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n", header, len(o.content))
		return err == nil
	}
	if !c.pause(h.pace(&h.down, len(o.content), h.spec.rate)) {
		return false
	}
	return h.reply(c, http.StatusOK, header, o.content)
}

func (h *simHost) takeManifest(c *simConn, r *http.Request, repository, reference string) bool {
	content, err := io.ReadAll(r.Body)
	if err != nil || !c.pause(h.pace(&h.up, len(content), h.spec.rate)) {
		return false
	}
	o := simObjects.get(digest.FromBytes(content))
	if o == nil || !o.manifest {
		h.report("%s/%s was sent a manifest with wrong bytes", h.spec.name, repository)
		return h.refuse(c, r, http.StatusBadRequest, "MANIFEST_INVALID")
	}
	h.mu.Lock()
	complete := true
	for _, needed := range o.needs {
		complete = complete && h.has[repository+"@"+needed.digest.String()]
	}
	if complete {
		h.has[repository+"@"+o.digest.String()] = true
		if !strings.Contains(reference, ":") {
			h.tags[repository+":"+reference] = o.digest.String()
		}
	}
	h.mu.Unlock()
	if !complete {
		h.report("%s/%s was sent a manifest before what it names", h.spec.name, repository)
		return h.refuse(c, r, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
	}
	return h.reply(c, http.StatusCreated, "Docker-Content-Digest: "+o.digest.String()+"\r\n", nil)
}

func (h *simHost) answerBlob(c *simConn, r *http.Request, repository, d string) bool {
	h.mu.Lock()
	there := h.has[repository+"@"+d]
	h.mu.Unlock()
	if !there {
		return h.refuse(c, r, http.StatusNotFound, "BLOB_UNKNOWN")
	}
	content, status, header := simObjects.get(digest.Digest(d)).content, http.StatusOK, ""
	from, to := 0, len(content)-1
	if wanted := r.Header.Get("Range"); wanted != "" {
		if n, _ := fmt.Sscanf(wanted, "bytes=%d-%d", &from, &to); n == 0 {
			h.report("%s was asked for the range %q", h.spec.name, wanted)
		}
		status, header = http.StatusPartialContent, fmt.Sprintf("Content-Range: bytes %d-%d/%d\r\n", from, to, len(content))
	}
	content = content[from : to+1]
	_, err := fmt.Fprintf(c, "HTTP/1.1 %d %s\r\n%sDocker-Content-Digest: %s\r\nContent-Length: %d\r\n\r\n", status, http.StatusText(status), header, d, len(content))
	if err != nil || r.Method == http.MethodHead {
		h.left(c)
		return err == nil
	}
	for passed := 0; passed < len(content); {
		n := h.step(c, &h.down, passed, len(content)-passed)
		if n == 0 {
			return false
		}
		if passed += n; passed == len(content) {
			h.left(c)
		}
		if _, err := c.Write(content[passed-n : passed]); err != nil {
			return false
		}
	}
	return true
}

// step waits until the next bytes of a blob may pass, of which passed have and rest
// have not. It returns their number, or 0 if the connection ended.
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

// pace returns how long the next n bytes of a connection take.
func (h *simHost) pace(l *link, n int, rate float64) time.Duration {
	return max(l.reserve(n), takes(n, rate))
}
