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
	// maxIdleRedirects is the maximum number of idle connections to hosts that a registry
	// directs the client to. It suffices for two hosts, one for reading blobs and one for
	// writing them. Each connection has buffers, and a registry may name another host each
	// time.
	maxIdleRedirects = 2 * defaultConcurrency
	// maxHeaderBytes bounds the size of response headers.
	maxHeaderBytes = 64 << 10
)

// newTransport returns a transport for HTTP/1.1 only, because one HTTP/2 connection that
// many layers share is slower than many connections. isProxy reports whether a host:port is
// the address of a proxy, to which tlsConfig does not apply.
func (c *Client) newTransport(dial dialFunc, tlsConfig *tls.Config, isProxy func(address string) bool, connections int) *http.Transport {
	t := &http.Transport{
		DialContext: dial,
		DialTLSContext: withTLS(dial, func(address string) (*tls.Config, error) {
			if isProxy(address) {
				return c.thirdPartyTLSConfig(&url.URL{Scheme: "https", Host: address})
			}
			return tlsConfig.Clone(), nil
		}),
		TLSClientConfig:        tlsConfig, // used through a proxy
		TLSHandshakeTimeout:    handshakeTimeout,
		MaxIdleConnsPerHost:    connections,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		// Digests are computed over the stored bytes, not over compressed ones.
		DisableCompression:     true,
		OnProxyConnectResponse: checkProxyConnect,
		WriteBufferSize:        64 << 10,
		// Smaller than copyBufferSize, so that reads of that size bypass the buffer.
		ReadBufferSize: 16 << 10,
		Protocols:      new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}

// withTLS adds TLS to the connections of dial. net/http would use one configuration for
// both a registry and its proxy.
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

// thirdPartyTLSConfig returns the TLS configuration for a host that is not the registry of
// the operation: one that a registry directs the client to, or a proxy. It has no client
// certificate, which is a credential for its own host only.
func (c *Client) thirdPartyTLSConfig(u *url.URL) (*tls.Config, error) {
	name, settings := c.settingsOf(u)
	settings.ClientCertificate, settings.ClientKey = nil, ""
	return tlsConfigOf(name, settings)
}

// tlsConfigOf returns the TLS configuration for the settings of a host.
func tlsConfigOf(host string, o HostOptions) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.InsecureSkipTLSVerify} //nolint:gosec // an explicit setting, for this host only
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
