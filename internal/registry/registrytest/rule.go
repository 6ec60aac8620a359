package registrytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"regexp"
	"strconv"
)

// Rule determines how a proxy handles matching requests. It has no effect until one of Reply,
// Do, Alter, Cut, CutHalfway, CutUpload, Reset, Refuse, Stall or Hold is called. A later call
// replaces an earlier one. If several rules match a request, the one created first applies.
type Rule struct {
	proxy        *Proxy
	method, path *regexp.Regexp
	where        func(*http.Request) bool
	refuses      bool // the rule applies to connections instead of requests
	skip         int  // remaining requests to skip
	left         int  // remaining requests to match; negative if unlimited
	taken        int
	action       action
}

// action handles a request. next is the registry.
type action func(w http.ResponseWriter, r *http.Request, next http.Handler)

// On creates a rule for requests whose entire method and path match the regular expressions, as
// in p.On("GET|HEAD", "/v2/app/manifests/.*").
func (p *Proxy) On(method, path string) *Rule {
	rule := &Rule{proxy: p, method: fullMatch(method), path: fullMatch(path), left: -1}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, rule)
	return rule
}

// matches reports whether the rule applies to a request, and counts it. The caller must hold
// the proxy's lock.
func (r *Rule) matches(req *http.Request) bool {
	if r.action == nil || r.left == 0 || !r.method.MatchString(req.Method) || !r.path.MatchString(req.URL.EscapedPath()) {
		return false
	}
	if r.where != nil && !r.where(req) {
		return false
	}
	if r.skip > 0 {
		r.skip--
		return false
	}
	r.left--
	r.taken++
	return true
}

func (r *Rule) set(change func()) *Rule {
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	change()
	return r
}

// Times limits the rule to the next n matching requests.
func (r *Rule) Times(n int) *Rule { return r.set(func() { r.left = n }) }

// After skips the next n matching requests.
func (r *Rule) After(n int) *Rule { return r.set(func() { r.skip = n }) }

// Where limits the rule to requests for which match returns true. match must not call methods
// of the proxy.
func (r *Rule) Where(match func(*http.Request) bool) *Rule {
	return r.set(func() { r.where = match })
}

// Taken returns the number of requests that the rule handled.
func (r *Rule) Taken() int {
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	return r.taken
}

// Do handles requests with f. Its argument next passes the request to the registry.
func (r *Rule) Do(f func(w http.ResponseWriter, req *http.Request, next http.Handler)) *Rule {
	return r.set(func() { r.refuses, r.action = false, f })
}

// Reply responds with a status, headers and a body. It first reads the body of the request, as
// a registry would.
func (r *Rule) Reply(status int, header http.Header, body string) *Rule {
	return r.Do(func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, req.Body)
		for name, values := range header {
			w.Header()[http.CanonicalHeaderKey(name)] = values
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// Alter changes the status, headers or body of the registry's response. It panics if the proxy
// was created with Front.
func (r *Rule) Alter(change func(*http.Response)) *Rule {
	if _, passes := r.proxy.upstream.(*httputil.ReverseProxy); !passes {
		panic("registrytest: Alter needs a proxy of Intercept")
	}
	return r.Do(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		next.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), alterKey{}, change)))
	})
}

type alterKey struct{}

// alter is the ModifyResponse function of the reverse proxy. It applies the change that Alter
// stored in the context of the request.
func alter(res *http.Response) error {
	if change, ok := res.Request.Context().Value(alterKey{}).(func(*http.Response)); ok {
		change(res)
	}
	return nil
}

// Cut forwards the registry's response and closes the connection after n bytes of its body.
func (r *Rule) Cut(n int64) *Rule {
	return r.Do(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		next.ServeHTTP(&cutter{ResponseWriter: w, left: n}, req)
	})
}

// cutter forwards a limited number of body bytes and then fails, so that the reverse proxy
// closes the connection.
type cutter struct {
	http.ResponseWriter
	left int64
}

func (c *cutter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b[:min(int64(len(b)), c.left)])
	if c.left -= int64(n); err == nil && c.left == 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		err = errCut
	}
	return n, err
}

func (c *cutter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

var errCut = errors.New("cut by a rule")

// CutHalfway forwards the registry's response and closes the connection in the middle of its
// body or, if it has no body, of its headers.
func (r *Rule) CutHalfway() *Rule {
	return r.Do(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		response := httptest.NewRecorder()
		next.ServeHTTP(response, req)
		w.(*responseRecorder).setStatus(response.Code)
		if req.Method == http.MethodHead {
			response.Body.Reset()
		}
		if response.Body.Len() > 0 {
			response.Header().Set("Content-Length", strconv.Itoa(response.Body.Len()))
		}
		var text bytes.Buffer
		fmt.Fprintf(&text, "HTTP/1.1 %d %s\r\n", response.Code, http.StatusText(response.Code))
		_ = response.Header().Write(&text)
		text.WriteString("\r\n")
		half := text.Len() / 2
		if response.Body.Len() > 0 {
			half = text.Len() + response.Body.Len()/2
		}
		text.Write(response.Body.Bytes())
		conn := hijack(w)
		_, _ = conn.Write(text.Bytes()[:half])
		_ = conn.Close()
	})
}

// CutUpload reads n bytes of the request's body and resets the connection. The registry does
// not receive the request.
func (r *Rule) CutUpload(n int64) *Rule {
	return r.Do(func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
		_, _ = io.CopyN(io.Discard, req.Body, n)
		reset(w)
	})
}

// Reset resets the connection instead of responding.
func (r *Rule) Reset() *Rule {
	return r.Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { reset(w) })
}

// Stall does not respond. It ends when the client cancels the request or the test ends.
func (r *Rule) Stall() *Rule {
	return r.Do(func(_ http.ResponseWriter, req *http.Request, _ http.Handler) {
		// Only after the body is read does the server notice that the client has disconnected.
		_, _ = io.Copy(io.Discard, req.Body)
		select {
		case <-req.Context().Done():
		case <-r.proxy.done:
		}
		panic(http.ErrAbortHandler)
	})
}

// Hold delays requests until gate is closed. It drops them if the client cancels the request or
// the test ends first. Delayed requests count as active, see Proxy.Active and Proxy.Peak.
func (r *Rule) Hold(gate <-chan struct{}) *Rule {
	return r.Do(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		select {
		case <-gate:
			next.ServeHTTP(w, req)
			return
		case <-req.Context().Done():
		case <-r.proxy.done:
		}
		panic(http.ErrAbortHandler)
	})
}
