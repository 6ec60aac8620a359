package registrytest

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"
)

// Registry is a registry that runs until its test ends.
type Registry struct {
	// Addr is the host:port that clients use.
	Addr string
	// CA is the PEM of the authority that signed its certificate; nil where it
	// speaks plain HTTP.
	CA []byte

	// direct is the scheme://host:port where the methods of this type go: past
	// a proxy, whose Addr is another.
	direct string
	client *http.Client
	// handler is the registry itself where that is in this process and direct:
	// a connection would only cost time.
	handler http.Handler
	// authorize lets a request of this package in; nil where everybody may.
	authorize func(req *http.Request, repo string)
	identity  *identity
}

// Ref is the reference of a tag or digest in a repository: "host:port/repo:tag"
// or "host:port/repo@sha256:…".
func (r *Registry) Ref(repo, tagOrDigest string) string {
	separator := ":"
	if strings.Contains(tagOrDigest, ":") {
		separator = "@"
	}
	return r.Addr + "/" + repo + separator + tagOrDigest
}

// URL is the scheme://host:port that clients use.
func (r *Registry) URL() string {
	if r.CA != nil {
		return "https://" + r.Addr
	}
	return "http://" + r.Addr
}

// newRegistry is the handle of a registry that listens on addr.
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
			req.Header.Set("Authorization", "Bearer "+s.tokens.forSetup(repo))
		}
	case s.user != "":
		r.authorize = func(req *http.Request, _ string) { req.SetBasicAuth(s.user, s.password) }
	}
	return r
}
