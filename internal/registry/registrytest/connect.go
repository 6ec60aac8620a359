package registrytest

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
)

// Refuse makes connections fail as if nothing listened on the address of the proxy. It affects
// only clients that connect with Dialer. For this rule, a connection counts as a request with
// the method CONNECT and an empty path. The proxy closes each connection after one response
// from then on, so that every request needs its own connection.
func (r *Rule) Refuse() *Rule {
	r.proxy.server.SetKeepAlivesEnabled(false)
	return r.set(func() { r.refuses, r.action = true, refused })
}

// refused makes the action of a rule non-nil. It is never called.
func refused(http.ResponseWriter, *http.Request, http.Handler) {
	panic("registrytest: no connection, no request")
}

// Dialer returns a function that connects like net.Dialer.DialContext, unless a rule of one of
// the proxies refuses the connection.
func Dialer(proxies ...*Proxy) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		for _, p := range proxies {
			if p.Addr == address && p.refuses() {
				return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
			}
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

// refuses reports whether a rule refuses the connection that is about to be made.
func (p *Proxy) refuses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	refused := p.match(&http.Request{Method: http.MethodConnect, URL: &url.URL{}}, true) != nil
	p.notify()
	return refused
}
