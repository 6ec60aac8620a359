package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// permanent marks the cause of an error that a retry cannot fix.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// settingsKey returns the key of the settings for u: the host in references if u is at the
// registry itself, and the host of u otherwise.
func (h *host) settingsKey(u *url.URL) string {
	if h.isOrigin(u) {
		return h.name
	}
	name, _ := registry.Endpoint(u)
	return registry.JoinPort(name, u.Port())
}

// connectionError returns the error of a request that got no response or a truncated one.
func (h *host) connectionError(err error, u *url.URL) *registry.Error {
	e := &registry.Error{Kind: registry.ErrUnavailable, Err: err}
	dns, unresolved := errors.AsType[*net.DNSError](err)
	proxied, byProxy := errors.AsType[proxyError](err)
	switch text := err.Error(); {
	case errors.Is(err, errStalled):
		e.Hint = "The connection stood still. Look at the network and at the registry's health, then try again."
	case byProxy:
		e.Message, e.Hint = proxied.message(), proxied.hint(u)
	case errors.Is(err, errProxy):
		e.Hint = "A proxy is given as http://host:port, or http://user:password@host:port, where special characters of the password are written as % and two digits. Correct the variable, or take it out."
	case errors.As(err, new(permanent)):
	case unresolved && dns.IsNotFound:
		e.Err, e.Hint = permanent{err}, "The host name could not be found. Look for a typing error in it, and at this machine's DNS."
		if !h.isOrigin(u) {
			e.Hint = fmt.Sprintf("The host name %s could not be found. The registry has answered, and names that place for a token, a layer or an upload: ask those who run it, and look at this machine's DNS.", registry.Sanitize(u.Hostname()))
		}
	case unresolved:
		e.Hint = "The host name could not be looked up. Look at this machine's DNS."
	case strings.Contains(text, "refused") && !h.isOrigin(u):
		e.Hint = fmt.Sprintf("Nothing listens at %s. The registry has answered, and sends its clients there for a token, a layer or an upload: have those who run it look after that place, or look for what keeps this machine from it.", registry.Sanitize(u.Host))
	case strings.Contains(text, "refused"): // the text around it differs on Windows
		e.Hint = "Nothing listens there. Look at host and port, and whether the registry is running."
	case isConnectionClosed(err) && !h.answered.Load() && u.Scheme == "http":
		e.Hint = "The connection was closed without an answer, as a server does that wants TLS. If this one does, set " + registry.Setting(h.settingsKey(u), "plain_http = false") + "."
	case truncatedLine.MatchString(text):
		e.Err = registry.WithText(err, "the connection ended in the middle of an answer")
	default:
		if hint := h.tlsHint(err, u); hint != "" {
			e.Kind, e.Hint = registry.ErrProtocol, hint
			// The text in parentheses describes certificates that the registry supplied.
			text, _, _ := strings.Cut(text, " (possibly because of ")
			e.Err = registry.WithText(err, text)
		}
	}
	return e
}

// truncatedLine matches the errors of net/http for a response that ends within its status
// line or a header. net/http parses the incomplete line as if it were complete.
var truncatedLine = regexp.MustCompile(`malformed (HTTP response "H(T(T(P(/(1(\.[01]?)?)?)?)?)?)?"|HTTP status code "[0-9]{0,2}"|MIME header: missing colon: |MIME header line: ".*\\r"$)`)

// isConnectionClosed reports whether the peer closed the connection.
func isConnectionClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || strings.Contains(err.Error(), "forcibly closed") // on Windows
}

// tlsHint returns advice if the two ends do not agree on the protocol or on TLS, which a
// retry cannot fix, and "" for other errors. net/http has no error types for responses that
// it cannot parse. It quotes a TLS record (RFC 8446, section 5.1: an alert has the type 21)
// like any malformed response.
func (h *host) tlsHint(err error, u *url.URL) string {
	text, key := err.Error(), h.settingsKey(u)
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &record) && !looksLikeHTTP(record.RecordHeader):
		return notARegistryHint
	case errors.As(err, &record) || strings.Contains(text, "server gave HTTP response to HTTPS client"):
		// Do not advise the user to send a password unencrypted over the internet, or to a
		// host that a registry directed the client to.
		if !h.isOrigin(u) || h.scope.addrScope() == public {
			return "What answered speaks plain HTTP, and was asked over HTTPS. Look at the port, and for a proxy or a login page on the way: no registry on the internet does without TLS."
		}
		return "The registry speaks plain HTTP and was asked over HTTPS. If it really has no TLS, set " + registry.Setting(key, "plain_http = true") + "."
	case strings.Contains(text, `malformed HTTP response "\x15\x03`) && u.Scheme == "http" && (!h.isOrigin(u) || !h.answered.Load()):
		return "What answered speaks TLS, and was asked in plain HTTP. Set " + registry.Setting(key, "plain_http = false") + "."
	case strings.Contains(text, "malformed HTTP"):
		return notARegistryHint
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "Nobody this machine trusts has signed the registry's certificate. Set " + registry.Setting(key, `ca_certificate = file("ca.pem")`) +
			", or for tests alone insecure_skip_tls_verify = true. The file holds its authority's certificate, or its own where it signed that itself."
	case errors.As(err, new(x509.HostnameError)):
		return "The registry's certificate is not valid for this host: it was made for other names or addresses. Use one of them, or have a certificate made for this one."
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "The registry's certificate has expired or is not valid yet. Have it renewed, and look at this machine's clock."
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "The registry's certificate cannot be used. Have a proper one made."
	case isHandshakeRejected(err):
		return "The registry ended the TLS handshake. It may want a client certificate. Set " + registry.Setting(key, `client_certificate = file("client.pem"), client_key = file("client.key")`) +
			". Or it has no TLS version in common with this program, which needs 1.2 or later."
	case strings.Contains(text, "server response headers exceeded"), strings.Contains(text, "too many 1xx"), strings.Contains(text, "malformed MIME header"),
		strings.Contains(text, "bad Content-Length"), strings.Contains(text, "unsupported transfer encoding"):
		return notARegistryHint
	}
	return ""
}

// looksLikeHTTP reports whether the bytes received in place of a TLS record begin an HTTP
// response. Some servers parse the client hello as a request without a version and respond
// with a bare page.
func looksLikeHTTP(header [5]byte) bool { return string(header[:]) == "HTTP/" || header[0] == '<' }

// isHandshakeRejected reports whether the peer rejected the TLS handshake. It returns false
// for an internal error of the peer, which is temporary.
func isHandshakeRejected(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error" && !strings.Contains(op.Error(), "internal error")
}

// proxyError is a failure of a proxy, not of the registry behind it.
type proxyError struct {
	error
	proxy string // redacted URL
}

// Unwrap returns the cause.
func (e proxyError) Unwrap() error { return e.error }

func (e proxyError) message() string {
	if errors.As(e.error, new(tunnelError)) {
		return "the proxy " + e.proxy + " does not let it through"
	}
	return "the proxy " + e.proxy + " cannot be reached"
}

func (e proxyError) hint(u *url.URL) string {
	if errors.As(e.error, new(x509.UnknownAuthorityError)) {
		_, host, _ := strings.Cut(e.proxy, "://")
		return "Nobody this machine trusts has signed the proxy's certificate. Set " + registry.Setting(host, `ca_certificate = file("ca.pem")`) + "."
	}
	return fmt.Sprintf("This goes through the proxy that %s_PROXY names. Look whether that one is right, runs, and has its login in the variable where it wants one. If %s can be reached without it, add that name to NO_PROXY.",
		strings.ToUpper(u.Scheme), registry.Sanitize(u.Hostname()))
}

// tunnelError is the status with which a proxy refuses a CONNECT request.
type tunnelError int

// Error returns the status code and its text.
func (s tunnelError) Error() string {
	return fmt.Sprintf("HTTP %d %s", int(s), http.StatusText(int(s)))
}

// checkProxyConnect returns a tunnelError if a proxy refuses a CONNECT request. net/http
// would return an error without a type. An overloaded proxy may connect later, so that a
// 5xx status is worth a retry.
func checkProxyConnect(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	switch {
	case resp.StatusCode == http.StatusOK:
		return nil
	case resp.StatusCode >= http.StatusInternalServerError:
		return tunnelError(resp.StatusCode)
	}
	return permanent{tunnelError(resp.StatusCode)}
}

// withProxyError wraps err in a proxyError if the proxy caused it.
func (c *Client) withProxyError(req *http.Request, err error) error {
	op, _ := errors.AsType[*net.OpError](err)
	if !errors.As(err, new(tunnelError)) && (op == nil || op.Op != "proxyconnect") {
		return err
	}
	proxy, proxyErr := c.options.Proxy(req)
	if proxyErr != nil || proxy == nil {
		return err
	}
	if errors.As(err, new(*tls.CertificateVerificationError)) {
		err = permanent{err}
	}
	return proxyError{err, registry.RedactURL(proxy)}
}
