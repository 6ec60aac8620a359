package registrytest

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
)

// Refuse makes connecting fail as if nothing listened there, for clients that
// connect by Dialer. For such a rule a connection is a request with the method
// CONNECT and an empty path. So that there is one for each request, the proxy
// closes each after one answer from now on.
func (r *Rule) Refuse() *Rule {
	r.proxy.server.SetKeepAlivesEnabled(false)
	return r.set(func() { r.refuses, r.action = true, refused })
}

// refused is there so that the rule has an action. It is never called.
func refused(http.ResponseWriter, *http.Request, http.Handler) {
	panic("registrytest: no connection, no request")
}

// Dialer connects as a net.Dialer does, except where a rule of one of the
// proxies refuses it.
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

// refuses says whether a rule wants the connection that is made now.
func (p *Proxy) refuses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	refused := p.match(&http.Request{Method: http.MethodConnect, URL: &url.URL{}}, true) != nil
	p.notify()
	return refused
}
