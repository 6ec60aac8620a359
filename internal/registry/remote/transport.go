package remote

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	dialTimeout      = 30 * time.Second
	handshakeTimeout = 15 * time.Second
	idleTimeout      = 90 * time.Second
	// nextAddress is when the next of a name's addresses is tried beside the
	// ones that have not answered (RFC 8305, "Connection Attempt Delay").
	nextAddress = 250 * time.Millisecond
	// maxHeaderBytes bounds what an answer's headers may take.
	maxHeaderBytes = 64 << 10
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialer connects to names, after a look at the addresses they resolve to.
type dialer struct {
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	connect dialFunc
}

func newDialer(o Options) dialer {
	d := dialer{resolve: o.Resolve, connect: o.Dial}
	if d.resolve == nil {
		d.resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if d.connect == nil {
		d.connect = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	return d
}

type operationKey struct{}

// dialFor makes connecting for a request end with the operation that it is part
// of. net/http goes on with it otherwise when nobody wants the connection any
// more, which a Terraform that was interrupted would be seen to wait for.
func dialFor(ctx context.Context) context.Context { return context.WithValue(ctx, operationKey{}, ctx) }

// operation is the context of a dial, which net/http has freed from its
// request, tied to the operation again.
func operation(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	of, ok := ctx.Value(operationKey{}).(context.Context)
	if !ok {
		return ctx, func() { cancel(nil) }
	}
	stop := context.AfterFunc(of, func() { cancel(context.Cause(of)) })
	return ctx, func() { stop(); cancel(nil) }
}

// anyAddress is the check of a dial that goes where somebody configured it to.
func anyAddress(netip.Addr) error { return nil }

// dial connects to the first address of a name that answers, and returns the
// address too. check sees each address after DNS and refuses those that must
// not be gone to: one of them is reason enough to go to none.
func (d dialer) dial(ctx context.Context, network, address string, check func(netip.Addr) error) (net.Conn, netip.Addr, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	ctx, stop := operation(ctx)
	defer stop()
	var addrs []netip.Addr
	if literal, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, literal)
	} else if addrs, err = d.resolve(ctx, host); err != nil {
		return nil, netip.Addr{}, err
	}
	for _, addr := range addrs {
		if err := check(addr); err != nil {
			return nil, netip.Addr{}, err
		}
	}
	if len(addrs) == 0 {
		return nil, netip.Addr{}, &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	first := d.race(ctx, network, port, addrs)
	if first.err != nil {
		return nil, netip.Addr{}, first.err
	}
	return &answerFirst{Conn: first.conn, closed: make(chan struct{})}, first.addr, nil
}

// dialed is what became of connecting to one address.
type dialed struct {
	conn net.Conn
	addr netip.Addr
	err  error
}

// race tries the addresses in their order, each a moment after the one before,
// and keeps the first connection.
func (d dialer) race(ctx context.Context, network, port string, addrs []netip.Addr) dialed {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialed, len(addrs))
	started, ended := 0, 0
	start := func() {
		addr := addrs[started].Unmap()
		started++
		go func() {
			conn, err := d.connect(ctx, network, net.JoinHostPort(addr.String(), port))
			results <- dialed{conn, addr, err}
		}()
	}
	start()
	timer := time.NewTicker(nextAddress)
	defer timer.Stop()
	var failed error
	for {
		select {
		case r := <-results:
			ended++
			if r.err == nil {
				go closeLate(results, started-ended)
				return r
			}
			failed = errors.Join(failed, r.err)
			if ended == len(addrs) {
				return dialed{err: failed}
			}
			if started == ended {
				start()
			}
		case <-timer.C:
			if started < len(addrs) {
				start()
			}
		}
	}
}

// closeLate closes the connections that came after the one that is used.
func closeLate(results <-chan dialed, n int) {
	for range n {
		if late := <-results; late.conn != nil {
			late.conn.Close()
		}
	}
}

// answerPatience is how long an answer may be behind the failure to write that
// it explains.
const answerPatience = time.Second

// answerFirst is a connection that lets an answer overtake the error of writing.
// A registry that refuses a blob while it is still being sent answers, closes
// the connection, and so makes the next write fail; net/http gives whichever it
// sees first, and the answer is the one that says something. All that was
// received can still be read, and whoever reads closes the connection at its
// end.
type answerFirst struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *answerFirst) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		timer := time.NewTimer(answerPatience)
		defer timer.Stop()
		select {
		case <-c.closed:
		case <-timer.C:
		}
	}
	return n, err
}

func (c *answerFirst) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// newTransport returns a transport that speaks HTTP/1.1 alone: one stream a
// connection, because one HTTP/2 connection shared by many layers is slower
// than many connections.
func newTransport(dial dialFunc, tlsConfig *tls.Config, connections int) *http.Transport {
	t := &http.Transport{
		DialContext:            dial,
		DialTLSContext:         secured(dial, tlsConfig),
		TLSClientConfig:        tlsConfig, // through a proxy
		TLSHandshakeTimeout:    handshakeTimeout,
		MaxIdleConnsPerHost:    connections,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		// The bytes are wanted as they are stored, not as a server may pack
		// them for the way.
		DisableCompression: true,
		WriteBufferSize:    64 << 10,
		ReadBufferSize:     64 << 10,
		Protocols:          new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}

// secured adds TLS to what dial connects to. net/http would do the same, but go
// on with it when the operation has ended.
func secured(dial dialFunc, config *tls.Config) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		own := config.Clone()
		own.ServerName = host
		ctx, stop := operation(ctx)
		defer stop()
		ctx, cancel := context.WithTimeoutCause(ctx, handshakeTimeout, errStalled)
		defer cancel()
		client := tls.Client(conn, own)
		if err := client.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, cmp.Or(context.Cause(ctx), err)
		}
		return client, nil
	}
}

// tlsConfigOf translates the TLS settings of a host.
func tlsConfigOf(host string, o HostOptions) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.InsecureSkipTLSVerify} //nolint:gosec // asked for by name, for this host alone
	if len(o.CACertificate) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(o.CACertificate) {
			return nil, fmt.Errorf("the CA certificate for %s holds no certificate in PEM form", host)
		}
		config.RootCAs = pool
	}
	if len(o.ClientCertificate) > 0 || o.ClientKey != "" {
		certificate, err := tls.X509KeyPair(o.ClientCertificate, []byte(o.ClientKey.Reveal()))
		if err != nil {
			return nil, fmt.Errorf("the client certificate and key for %s cannot be used: %s", host, registry.Clean(err.Error()))
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}
