package remote_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// fakeNetwork is a network of host names and addresses whose servers all run in this
// process. Unknown names do not resolve, and unknown addresses refuse connections.
type fakeNetwork struct {
	authority *authority

	mu        sync.Mutex
	names     map[string][]netip.Addr
	listeners map[string]string // the listener of each dialed address
	dialed    []string
	conns     int
}

func newFakeNetwork(t *testing.T) *fakeNetwork {
	t.Helper()
	return &fakeNetwork{authority: newAuthority(t), names: map[string][]netip.Addr{}, listeners: map[string]string{}}
}

// options connects a client to the network. The client does not trust the network's
// authority by default.
func (n *fakeNetwork) options(o *remote.Options) {
	o.Resolve = n.resolve
	o.Dial = n.dial
}

func (n *fakeNetwork) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if addrs, ok := n.names[host]; ok {
		return addrs, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (n *fakeNetwork) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dialed = append(n.dialed, address)
	listener, ok := n.listeners[address]
	n.mu.Unlock()
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errRefused}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, listener)
	if err == nil {
		n.mu.Lock()
		n.conns++
		n.mu.Unlock()
	}
	return conn, err
}

var errRefused = refused{}

type refused struct{}

func (refused) Error() string { return "connect: connection refused" }

// dials returns the addresses dialed so far.
func (n *fakeNetwork) dials() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.dialed...)
}

// name makes a host name resolve to the given addresses.
func (n *fakeNetwork) name(host string, addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[host] = nil
	for _, a := range addresses {
		n.names[host] = append(n.names[host], netip.MustParseAddr(a))
	}
}

// at makes a listener reachable at an address of the form "ip:port".
func (n *fakeNetwork) at(address, listener string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[address] = listener
}

// serve starts a TLS server for a name. The name resolves to the given address, and the
// server listens on port 443.
func (n *fakeNetwork) serve(t *testing.T, name, address string, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := n.serveTLS(t, handler, name)
	n.name(name, address)
	n.at(net.JoinHostPort(address, "443"), server.Listener.Addr().String())
	return server
}

// serveTLS starts a server with a certificate for the given names.
func (n *fakeNetwork) serveTLS(t *testing.T, handler http.HandlerFunc, names ...string) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = discardLog
	server.TLS = &tls.Config{Certificates: []tls.Certificate{n.authority.issue(t, names...)}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server
}

// servePlain starts a server without TLS.
func servePlain(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = discardLog
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server
}

var discardLog = log.New(io.Discard, "", 0)

// trustedHosts returns host options that trust the network's authority for each host.
func (n *fakeNetwork) trustedHosts(hosts ...string) map[string]remote.HostOptions {
	settings := map[string]remote.HostOptions{}
	for _, host := range hosts {
		settings[host] = remote.HostOptions{CACertificate: n.authority.pem}
	}
	return settings
}

// authority is a certificate authority for tests.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
	pool        *x509.CertPool
	serial      int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	der, a.key = a.sign(t, template, template, nil)
	var err error
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.certificate)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func (a *authority) sign(t *testing.T, template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parentKey == nil {
		parentKey = key
	}
	a.serial++
	template.SerialNumber = big.NewInt(a.serial)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// issue returns a certificate for the given names and addresses.
func (a *authority) issue(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "leaf"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, key := a.sign(t, template, a.certificate, a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// encodePEM returns a certificate and its key in the form that HostOptions requires.
func encodePEM(t *testing.T, c tls.Certificate) (certificate, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// tunnel connects the client of a proxy to a listener until either side closes the
// connection.
func tunnel(ctx context.Context, t *testing.T, w http.ResponseWriter, listener string) {
	upstream, err := (&net.Dialer{}).DialContext(ctx, "tcp", listener)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(upstream, buffered); _ = upstream.Close() })
	both.Go(func() { _, _ = io.Copy(client, upstream); _ = client.Close() })
	both.Wait()
}

// serveManifest responds to every request with a manifest.
func serveManifest(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", registry.MediaTypeDockerManifest)
	_, _ = io.WriteString(w, "{}")
}

// serveRaw starts a server that passes the first bytes of each connection to handler and
// then closes the connection.
func serveRaw(t *testing.T, handler func(conn net.Conn, request string)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = conn.Close() }()
				request := make([]byte, 4096)
				n, _ := conn.Read(request)
				handler(conn, string(request[:n]))
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return listener.Addr().String()
}

// notifyingConn is a connection that calls closed when it is closed.
type notifyingConn struct {
	net.Conn
	closed func()
}

func (c *notifyingConn) Close() error {
	c.closed()
	return c.Conn.Close()
}
