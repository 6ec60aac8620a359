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

// Rule says what a proxy does with some requests. It does nothing until one of
// its verbs (Reply, Do, Alter, Cut, CutHalfway, CutUpload, Reset, Refuse, Stall,
// Hold) was called; the last one counts. Of several rules that want a request, the one made first
// gets it.
type Rule struct {
	proxy        *Proxy
	method, path *regexp.Regexp
	where        func(*http.Request) bool
	refuses      bool // it is for connections and not for requests
	skip         int  // requests yet to be let past
	left         int  // requests yet to be taken; negative for any number
	taken        int
	action       action
}

// action answers a request; next is the registry.
type action func(w http.ResponseWriter, r *http.Request, next http.Handler)

// On makes a rule for the requests whose whole method and whole path match the
// regular expressions: p.On("GET|HEAD", "/v2/app/manifests/.*").
func (p *Proxy) On(method, path string) *Rule {
	rule := &Rule{proxy: p, method: whole(method), path: whole(path), left: -1}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, rule)
	return rule
}

// wants says whether a request is the rule's, and counts it. The proxy's lock
// is held.
func (r *Rule) wants(req *http.Request) bool {
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

// Times limits the rule to the next n requests that match; they are passed on
// afterwards.
func (r *Rule) Times(n int) *Rule { return r.set(func() { r.left = n }) }

// After lets the next n requests that match pass first.
func (r *Rule) After(n int) *Rule { return r.set(func() { r.skip = n }) }

// Where limits the rule to requests that match says yes to. It must not use the
// proxy.
func (r *Rule) Where(match func(*http.Request) bool) *Rule {
	return r.set(func() { r.where = match })
}

// Taken is how many requests the rule took.
func (r *Rule) Taken() int {
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	return r.taken
}

// Do answers with a function; next passes the request on to the registry.
func (r *Rule) Do(f func(w http.ResponseWriter, req *http.Request, next http.Handler)) *Rule {
	return r.set(func() { r.refuses, r.action = false, f })
}

// Reply answers with a status, headers and a body. The request's body is read
// first, as a registry would.
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

// Alter changes the registry's answer before it is passed on: status, headers,
// body. A proxy that Front made cannot.
func (r *Rule) Alter(change func(*http.Response)) *Rule {
	if _, passes := r.proxy.upstream.(*httputil.ReverseProxy); !passes {
		panic("registrytest: Alter wants a proxy that Intercept made")
	}
	return r.Do(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		next.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), alterKey{}, change)))
	})
}

type alterKey struct{}

// alter is a reverse proxy's ModifyResponse: the change that Alter put into the
// request's context.
func alter(res *http.Response) error {
	if change, ok := res.Request.Context().Value(alterKey{}).(func(*http.Response)); ok {
		change(res)
	}
	return nil
}

// Cut passes on the registry's answer and cuts the connection after n bytes of
// its body.
func (r *Rule) Cut(n int64) *Rule {
	return r.Do(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		next.ServeHTTP(&cutter{ResponseWriter: w, left: n}, req)
	})
}

// cutter takes some bytes of a body and fails then, which makes the reverse
// proxy drop the connection.
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

// CutHalfway passes the request on and closes the connection in the middle of
// the registry's answer: of its body or, where there is none, of its headers.
func (r *Rule) CutHalfway() *Rule {
	return r.Do(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, req)
		w.(*recorder).answered(answer.Code)
		if req.Method == http.MethodHead {
			answer.Body.Reset()
		}
		if answer.Body.Len() > 0 {
			answer.Header().Set("Content-Length", strconv.Itoa(answer.Body.Len()))
		}
		var text bytes.Buffer
		fmt.Fprintf(&text, "HTTP/1.1 %d %s\r\n", answer.Code, http.StatusText(answer.Code))
		_ = answer.Header().Write(&text)
		text.WriteString("\r\n")
		half := text.Len() / 2
		if answer.Body.Len() > 0 {
			half = text.Len() + answer.Body.Len()/2
		}
		text.Write(answer.Body.Bytes())
		conn := takeOver(w)
		_, _ = conn.Write(text.Bytes()[:half])
		_ = conn.Close()
	})
}

// CutUpload reads n bytes of the request's body and resets the connection; the
// registry hears nothing of the request.
func (r *Rule) CutUpload(n int64) *Rule {
	return r.Do(func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
		_, _ = io.CopyN(io.Discard, req.Body, n)
		reset(w)
	})
}

// Reset resets the connection in place of an answer.
func (r *Rule) Reset() *Rule {
	return r.Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { reset(w) })
}

// Stall never answers: it ends when the client gives up or the test ends.
func (r *Rule) Stall() *Rule {
	return r.Do(func(_ http.ResponseWriter, req *http.Request, _ http.Handler) {
		// Only a request that was read to its end notices that its client left.
		_, _ = io.Copy(io.Discard, req.Body)
		select {
		case <-req.Context().Done():
		case <-r.proxy.done:
		}
		panic(http.ErrAbortHandler)
	})
}

// Hold passes requests on only when gate is closed, or drops them when the
// client gives up or the test ends before. The requests held are those under
// way: see Proxy.Active and Proxy.Peak.
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
