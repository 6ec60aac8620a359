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

// Proxy stands between clients and a registry: it records what is asked, and
// its rules answer in the registry's place. As a Registry its Addr and Ref are
// the proxy's, while its methods (Push, Read, Digest …) go to the registry
// itself, past rules and record. Where the registry speaks TLS, so does the
// proxy, with the same certificate.
type Proxy struct {
	*Registry
	upstream http.Handler // the registry
	server   *http.Server
	done     chan struct{} // closed when the proxy ends, and with it what is held up
	stop     func()

	mu       sync.Mutex
	rules    []*Rule
	requests []*Request
	active   int
	peak     int
	changed  chan struct{} // closed and replaced when any of these change
}

// Request is one that reached a proxy.
type Request struct {
	Method string
	// Path and RawQuery are as they were sent, Query is decoded.
	Path, RawQuery string
	Query          url.Values
	// Header is the request's; Host is its own.
	Header http.Header
	Host   string
	// Status is what was answered, whole or not; 0 where nothing was, or not yet.
	Status int
	// Received is how many bytes of its body came.
	Received int64
}

// Intercept starts a proxy in front of a registry; it ends with t. Locations
// that the registry answers with lead back through the proxy.
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
	t.Cleanup(transport.CloseIdleConnections) // after the proxy has ended
	return before(t, r, &httputil.ReverseProxy{
		Transport: transport,
		// A fault that a rule makes is no news.
		ErrorLog:       discard,
		ModifyResponse: alter,
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(target)
			// The registry builds its Locations from the Host that it sees.
			pr.Out.Host = pr.In.Host
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery
		},
	})
}

// Front is Scripted behind a proxy, without a connection between the two: it
// costs a test half of what Intercept does. What it cannot do is Rule.Alter.
func Front(t testing.TB, b Behaviour, options ...Option) *Proxy {
	t.Helper()
	s, r := startScripted(t, b, options)
	return before(t, r, s)
}

// before starts a proxy before a registry, which ends with t.
func before(t testing.TB, r *Registry, upstream http.Handler) *Proxy {
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

// Stop ends the proxy before its test does: connections to it are refused from
// now on.
func (p *Proxy) Stop() { p.stop() }

// Through is the registry as a client sees it that goes through the proxy: its
// methods meet the rules and are recorded.
func (p *Proxy) Through() *Registry {
	r := *p.Registry
	r.direct, r.handler = r.URL(), nil
	return &r
}

// Wait waits until condition, which looks at what the proxy saw, is true. It
// fails the test where that does not come about for a minute.
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
			t.Fatalf("waited in vain; %d requests are under way of %d in all", p.Active(), len(p.Requests()))
		}
	}
}

// notify wakes those that wait. p.mu is held.
func (p *Proxy) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Requests are those that came so far, in the order that they came in.
func (p *Proxy) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	requests := make([]Request, 0, len(p.requests))
	for _, r := range p.requests {
		requests = append(requests, *r)
	}
	return requests
}

// Count says how many requests came whose whole method and whole path match the
// regular expressions.
func (p *Proxy) Count(method, path string) int {
	m, u := whole(method), whole(path)
	return len(slices.DeleteFunc(p.Requests(), func(r Request) bool {
		return !m.MatchString(r.Method) || !u.MatchString(r.Path)
	}))
}

// Peak is the largest number of requests that were under way at once.
func (p *Proxy) Peak() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peak
}

// Active is the number of requests that are under way now.
func (p *Proxy) Active() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.active
}

// Forget empties the record and the peak; the rules stay.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests, p.peak = nil, p.active
}

// Clear takes all rules away; the record stays.
func (p *Proxy) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
}

// ServeHTTP records the request and lets the first rule that wants it, or else
// the registry, answer.
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
	answer := &recorder{ResponseWriter: w, proxy: p, record: record}
	defer answer.end()
	if action != nil {
		action(answer, r, p.upstream)
		return
	}
	p.upstream.ServeHTTP(answer, r)
}

// match finds the rule for a request, or for a connection, and counts it. p.mu
// is held.
func (p *Proxy) match(r *http.Request, connecting bool) action {
	for _, rule := range p.rules {
		if rule.refuses == connecting && rule.wants(r) {
			return rule.action
		}
	}
	return nil
}

func whole(pattern string) *regexp.Regexp { return regexp.MustCompile("^(?:" + pattern + ")$") }

// recorder notes the status of an answer, and when it is over.
type recorder struct {
	http.ResponseWriter
	proxy  *Proxy
	record *Request
	left   int64 // bytes of the body that the headers announced; negative where unknown
	ended  bool
}

func (w *recorder) WriteHeader(status int) {
	if status >= 200 {
		w.answered(status)
		w.left = -1
		if length, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64); err == nil {
			w.left = length
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) answered(status int) {
	w.proxy.mu.Lock()
	defer w.proxy.mu.Unlock()
	w.record.Status = status
	w.proxy.notify()
}

// Write counts the request as over before its last byte goes out: a client may
// have that, and send its next request, before the handler returns.
func (w *recorder) Write(b []byte) (int, error) {
	if w.record.Status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.left -= int64(len(b)); w.left == 0 {
		w.end()
	}
	return w.ResponseWriter.Write(b)
}

func (w *recorder) end() {
	w.proxy.mu.Lock()
	defer w.proxy.mu.Unlock()
	if !w.ended {
		w.ended = true
		w.proxy.active--
		w.proxy.notify()
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// countingBody notes how much of a request's body came.
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

// reset ends a connection without a word, with RST where it is TCP.
func reset(w http.ResponseWriter) {
	raw := takeOver(w)
	if secured, ok := raw.(interface{ NetConn() net.Conn }); ok {
		raw = secured.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = raw.Close()
}

// takeOver is the connection of a request, which is the caller's from now on.
func takeOver(w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2 has no connection to take over
	}
	return conn
}

var discard = log.New(io.Discard, "", 0)
