package remote

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	handshakeTimeout = 15 * time.Second
	idleTimeout      = 90 * time.Second
	// maxIdleElsewhere is how many connections to places that a registry pointed
	// to may wait for their next use: enough for two that blobs come from and go
	// to. Each has buffers, and a registry may name another place each time.
	maxIdleRedirects = 2 * defaultConcurrency
	// maxHeaderBytes bounds what an answer's headers may take.
	maxHeaderBytes = 64 << 10
)

// newTransport returns a transport that speaks HTTP/1.1 alone: one stream a
// connection, because one HTTP/2 connection shared by many layers is slower
// than many connections. isProxy says of an address, host:port, whether it is
// that of a proxy, for which tlsConfig is not.
func (c *Client) newTransport(dial dialFunc, tlsConfig *tls.Config, isProxy func(address string) bool, connections int) *http.Transport {
	t := &http.Transport{
		DialContext: dial,
		DialTLSContext: withTLS(dial, func(address string) (*tls.Config, error) {
			if isProxy(address) {
				return c.thirdPartyTLSConfig(&url.URL{Scheme: "https", Host: address})
			}
			return tlsConfig.Clone(), nil
		}),
		TLSClientConfig:        tlsConfig, // through a proxy
		TLSHandshakeTimeout:    handshakeTimeout,
		MaxIdleConnsPerHost:    connections,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		// The bytes are wanted as they are stored, not as a server may pack
		// them for the way.
		DisableCompression:     true,
		OnProxyConnectResponse: checkProxyConnect,
		WriteBufferSize:        64 << 10,
		// Less than a piece: what is read in pieces goes past it.
		ReadBufferSize: 16 << 10,
		Protocols:      new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}

// secured adds TLS to what dial connects to. net/http would do the same, with one
// configuration for a registry and the proxy before it.
func withTLS(dial dialFunc, configFor func(address string) (*tls.Config, error)) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		config, err := configFor(address)
		if err != nil {
			return nil, err
		}
		if config.ServerName, _, err = net.SplitHostPort(address); err != nil {
			return nil, err
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeoutCause(ctx, handshakeTimeout, errStalled)
		defer cancel()
		client := tls.Client(conn, config)
		if err := client.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, cmp.Or(context.Cause(ctx), err)
		}
		return client, nil
	}
}

// trust is whose certificates are believed at a place that is no registry of the
// operation at hand: one that a registry points to, or a proxy. A client
// certificate is a credential, and not for those.
func (c *Client) thirdPartyTLSConfig(u *url.URL) (*tls.Config, error) {
	name, settings := c.settingsOf(u)
	settings.ClientCertificate, settings.ClientKey = nil, ""
	return tlsConfigOf(name, settings)
}

// tlsConfigOf translates the TLS settings of a host.
func tlsConfigOf(host string, o HostOptions) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.InsecureSkipTLSVerify} //nolint:gosec // asked for by name, for this host alone
	if len(o.CACertificate) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if block, _ := pem.Decode(o.CACertificate); block != nil && strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil, fmt.Errorf("the CA certificate for %s begins with a private key, which is a secret and no certificate", host)
		}
		if !pool.AppendCertsFromPEM(o.CACertificate) {
			return nil, fmt.Errorf("the CA certificate for %s holds no certificate in PEM form", host)
		}
		config.RootCAs = pool
	}
	if len(o.ClientCertificate) > 0 || o.ClientKey != "" {
		certificate, err := tls.X509KeyPair(o.ClientCertificate, []byte(o.ClientKey.Reveal()))
		if err != nil {
			return nil, fmt.Errorf("the client certificate and key for %s cannot be used: %s", host, registry.Sanitize(err.Error()))
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}
