package registrytest

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"
)

// Registry is a registry that runs until the end of its test.
type Registry struct {
	// Addr is the host:port for clients.
	Addr string
	// CA is the PEM certificate of the authority that signed the registry's certificate, or nil
	// if the registry uses plain HTTP.
	CA []byte

	// direct is the scheme://host:port that the methods of this type use. It bypasses a proxy,
	// which has another Addr.
	direct string
	client *http.Client
	// handler is the registry itself if it runs in this process and no proxy is involved.
	// Calling it directly is faster than using a connection.
	handler http.Handler
	// authorize adds credentials to a request of this package. It is nil if the registry needs
	// none.
	authorize func(req *http.Request, repo string)
	identity  *identity
}

// Ref returns the reference of a tag or digest in a repository, "host:port/repo:tag" or
// "host:port/repo@sha256:…".
func (r *Registry) Ref(repo, tagOrDigest string) string {
	separator := ":"
	if strings.Contains(tagOrDigest, ":") {
		separator = "@"
	}
	return r.Addr + "/" + repo + separator + tagOrDigest
}

// URL returns the scheme://host:port for clients.
func (r *Registry) URL() string {
	if r.CA != nil {
		return "https://" + r.Addr
	}
	return "http://" + r.Addr
}

// newRegistry returns a Registry for a server that listens on addr.
func newRegistry(t testing.TB, addr string, s settings) *Registry {
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	r := &Registry{Addr: addr, client: &http.Client{Transport: transport}, identity: s.identity}
	if s.identity != nil {
		r.CA = s.identity.ca
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(r.CA)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	r.direct = r.URL()
	switch {
	case s.tokens != nil:
		r.authorize = func(req *http.Request, repo string) {
			req.Header.Set("Authorization", "Bearer "+s.tokens.setupToken(repo))
		}
	case s.user != "":
		r.authorize = func(req *http.Request, _ string) { req.SetBasicAuth(s.user, s.password) }
	}
	return r
}
