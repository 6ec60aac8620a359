package registrytest

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Proxy is a reverse proxy between clients and a registry. It records requests, and its rules
// can respond instead of the registry. The embedded Registry has the proxy's Addr and Ref, but
// its methods (Push, Read, Digest …) bypass rules and recording. The proxy uses TLS if the
// registry does, with the same certificate.
type Proxy struct {
	*Registry
	upstream http.Handler // the registry
	server   *http.Server
	done     chan struct{} // closed when the proxy stops, to release requests that wait
	stop     func()

	mu       sync.Mutex
	rules    []*Rule
	requests []*Request
	active   int
	peak     int
	changed  chan struct{} // closed and replaced when any of these change
}

// Request is a request that a proxy received.
type Request struct {
	Method string
	// Path and RawQuery are as sent by the client. Query is decoded.
	Path, RawQuery string
	Query          url.Values
	// Header is the header without Host, which net/http stores separately.
	Header http.Header
	Host   string
	// Status is the status of the response, even if the response is incomplete, or 0 before a
	// response.
	Status int
	// Received is the number of body bytes that the proxy received.
	Received int64
}

// Intercept starts a proxy in front of a registry and stops it when t ends. Locations in
// responses of the registry refer to the proxy.
func Intercept(t testing.TB, r *Registry) *Proxy {
	t.Helper()
	target, err := url.Parse(r.direct)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	if r.identity != nil {
		transport.TLSClientConfig = r.client.Transport.(*http.Transport).TLSClientConfig.Clone()
	}
	t.Cleanup(transport.CloseIdleConnections) // after the proxy stopped
	return startProxy(t, r, &httputil.ReverseProxy{
		Transport: transport,
		// Faults that rules cause are expected.
		ErrorLog:       discard,
		ModifyResponse: alter,
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(target)
			// The registry builds Locations from the Host header.
			pr.Out.Host = pr.In.Host
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery
		},
	})
}

// Front starts a scripted registry behind a proxy, without a connection between the two. It
// takes half the time of Intercept, but does not support Rule.Alter.
func Front(t testing.TB, b Behaviour, options ...Option) *Proxy {
	t.Helper()
	s, r := startScripted(t, b, options)
	return startProxy(t, r, s)
}

// startProxy starts a proxy in front of a registry and stops it when t ends.
func startProxy(t testing.TB, r *Registry, upstream http.Handler) *Proxy {
	t.Helper()
	front := *r
	p := &Proxy{Registry: &front, upstream: upstream, done: make(chan struct{}), changed: make(chan struct{})}
	server := httptest.NewUnstartedServer(p)
	p.server = server.Config
	p.server.ErrorLog = discard
	if r.identity != nil {
		server.TLS = r.identity.config(t)
		server.StartTLS()
	} else {
		server.Start()
	}
	front.Addr = server.Listener.Addr().String()
	p.stop = sync.OnceFunc(func() {
		close(p.done)
		server.CloseClientConnections()
		server.Close()
	})
	t.Cleanup(p.stop)
	return p
}

// Stop stops the proxy before the test ends. Later connections are refused.
func (p *Proxy) Stop() { p.stop() }

// Through returns the registry as accessed through the proxy: rules apply to its methods, and
// their requests are recorded.
func (p *Proxy) Through() *Registry {
	r := *p.Registry
	r.direct, r.handler = r.URL(), nil
	return &r
}

// Wait waits until condition, which may call methods of p, returns true. It fails the test
// after a minute.
func (p *Proxy) Wait(t testing.TB, condition func() bool) {
	t.Helper()
	hang := time.NewTimer(time.Minute)
	defer hang.Stop()
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		if condition() {
			return
		}
		select {
		case <-changed:
		case <-hang.C:
			t.Fatalf("condition not met after a minute; %d of %d requests are active", p.Active(), len(p.Requests()))
		}
	}
}

// notify wakes all calls of Wait. The caller must hold p.mu.
func (p *Proxy) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Requests returns the recorded requests in the order of their arrival.
func (p *Proxy) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	requests := make([]Request, 0, len(p.requests))
	for _, r := range p.requests {
		requests = append(requests, *r)
	}
	return requests
}

// Count returns the number of requests whose entire method and path match the regular
// expressions.
func (p *Proxy) Count(method, path string) int {
	m, u := fullMatch(method), fullMatch(path)
	return len(slices.DeleteFunc(p.Requests(), func(r Request) bool {
		return !m.MatchString(r.Method) || !u.MatchString(r.Path)
	}))
}

// Peak returns the maximum number of concurrent requests.
func (p *Proxy) Peak() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peak
}

// Active returns the number of requests in progress.
func (p *Proxy) Active() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.active
}

// Forget clears the recorded requests and the peak. Rules are kept.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests, p.peak = nil, p.active
}

// Clear removes all rules. Recorded requests are kept.
func (p *Proxy) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
}

// ServeHTTP records the request. The first rule that matches responds, or otherwise the
// registry.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	record := &Request{
		Method: r.Method, Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery, Query: r.URL.Query(),
		Header: r.Header.Clone(), Host: r.Host,
	}
	p.mu.Lock()
	p.requests = append(p.requests, record)
	p.active++
	p.peak = max(p.peak, p.active)
	action := p.match(r, false)
	p.notify()
	p.mu.Unlock()
	r.Body = &countingBody{ReadCloser: r.Body, proxy: p, record: record}
	response := &responseRecorder{ResponseWriter: w, proxy: p, record: record}
	defer response.end()
	if action != nil {
		action(response, r, p.upstream)
		return
	}
	p.upstream.ServeHTTP(response, r)
}

// match returns the action of the first rule that matches a request or a connection, and counts
// the match. The caller must hold p.mu.
func (p *Proxy) match(r *http.Request, connecting bool) action {
	for _, rule := range p.rules {
		if rule.refuses == connecting && rule.matches(r) {
			return rule.action
		}
	}
	return nil
}

func fullMatch(pattern string) *regexp.Regexp { return regexp.MustCompile("^(?:" + pattern + ")$") }

// responseRecorder records the status of a response and when it ends.
type responseRecorder struct {
	http.ResponseWriter
	proxy  *Proxy
	record *Request
	left   int64 // remaining body bytes according to Content-Length; negative if unknown
	ended  bool
}

func (w *responseRecorder) WriteHeader(status int) {
	if status >= 200 {
		w.setStatus(status)
		w.left = -1
		if length, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64); err == nil {
			w.left = length
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseRecorder) setStatus(status int) {
	w.proxy.mu.Lock()
	defer w.proxy.mu.Unlock()
	w.record.Status = status
	w.proxy.notify()
}

// Write marks the request as ended before it writes the last byte. The client may receive that
// byte, and send its next request, before the handler returns.
func (w *responseRecorder) Write(b []byte) (int, error) {
	if w.record.Status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.left -= int64(len(b)); w.left == 0 {
		w.end()
	}
	return w.ResponseWriter.Write(b)
}

func (w *responseRecorder) end() {
	w.proxy.mu.Lock()
	defer w.proxy.mu.Unlock()
	if !w.ended {
		w.ended = true
		w.proxy.active--
		w.proxy.notify()
	}
}

// Unwrap gives http.ResponseController access to the connection.
func (w *responseRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// countingBody counts the bytes of a request's body.
type countingBody struct {
	io.ReadCloser
	proxy  *Proxy
	record *Request
}

func (b *countingBody) Read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	b.proxy.mu.Lock()
	b.record.Received += int64(n)
	b.proxy.notify()
	b.proxy.mu.Unlock()
	return n, err
}

// reset closes a connection without a response. It sends RST if the connection is TCP.
func reset(w http.ResponseWriter) {
	raw := hijack(w)
	if secured, ok := raw.(interface{ NetConn() net.Conn }); ok {
		raw = secured.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = raw.Close()
}

// hijack returns the connection of a request, which the caller must close.
func hijack(w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2 does not support hijacking
	}
	return conn
}

var discard = log.New(io.Discard, "", 0)
