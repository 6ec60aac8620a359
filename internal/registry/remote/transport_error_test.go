package remote_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

func TestTransportError_Hint(t *testing.T) {
	n := newFakeNetwork(t)
	n.serve(t, "private-ca.example.com", "203.0.113.1", serveManifest)
	n.name("other-name.example.com", "203.0.113.1")
	plain := servePlain(t, serveManifest).Listener.Addr().String()
	n.name("plain.example.com", "10.1.1.3")
	n.at("10.1.1.3:443", plain)
	n.name("on-the-way.example.com", "203.0.113.3")
	n.at("203.0.113.3:443", plain)
	n.name("nobody.example.com", "203.0.113.4")
	mutual := n.serve(t, "mutual.example.com", "203.0.113.5", serveManifest)
	mutual.TLS.ClientAuth, mutual.TLS.ClientCAs = tls.RequireAndVerifyClientCert, n.authority.pool
	n.name("tls.example.com", "203.0.113.6")
	n.at("203.0.113.6:80", n.serveTLS(t, serveManifest, "tls.example.com").Listener.Addr().String())
	n.name("nginx.example.com", "203.0.113.7")
	n.at("203.0.113.7:80", serveFixed(t, 400, "text/html", "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title>").Listener.Addr().String())
	n.name("binary.example.com", "203.0.113.8")
	n.at("203.0.113.8:80", serveRaw(t, func(conn net.Conn, _ string) { _, _ = io.WriteString(conn, "\x15\x03\x01\x00\x02\x02\x46") }))
	ssh := serveRaw(t, func(conn net.Conn, _ string) { _, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.6\r\n") })
	n.name("ssh.example.com", "10.1.1.15")
	n.at("10.1.1.15:80", ssh)
	n.name("ssh-tls.example.com", "10.1.1.16")
	n.at("10.1.1.16:443", ssh)
	n.name("bare.example.com", "10.1.1.17")
	n.at("10.1.1.17:443", serveRaw(t, func(conn net.Conn, _ string) { _, _ = io.WriteString(conn, "<html><h1>400 Bad Request</h1></html>") }))
	n.name("headers.example.com", "203.0.113.9")
	n.at("203.0.113.9:80", serveRaw(t, func(conn net.Conn, _ string) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 1000)+"\r\n")
	}))
	n.name("informed.example.com", "203.0.113.10")
	n.at("203.0.113.10:80", serveRaw(t, func(conn net.Conn, _ string) {
		_, _ = io.WriteString(conn, strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 1000)+"\r\n\r\n", 1000))
	}))
	n.name("continuing.example.com", "203.0.113.14")
	n.at("203.0.113.14:80", serveRaw(t, func(conn net.Conn, _ string) {
		for err := error(nil); err == nil; { // until the client closes the connection
			_, err = io.WriteString(conn, strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000))
		}
	}))

	n.name("closing.example.com", "203.0.113.11")
	n.at("203.0.113.11:80", serveRaw(t, func(net.Conn, string) {}))
	n.name("resetting.example.com", "203.0.113.12")
	n.at("203.0.113.12:80", serveRaw(t, func(conn net.Conn, _ string) { _ = conn.(*net.TCPConn).SetLinger(0) }))
	n.name("port.example.com", "10.1.1.3")
	n.at("10.1.1.3:5104", plain)

	n.serve(t, "other-ca.example.com", "203.0.113.13", serveManifest)

	hosts := n.trustedHosts("other-name.example.com", "plain.example.com", "nobody.example.com", "mutual.example.com")
	hosts["other-ca.example.com"] = remote.HostOptions{CACertificate: newAuthority(t).pem} // another authority with the same name
	yes := true
	for _, host := range []string{"tls", "nginx", "binary", "ssh", "headers", "informed", "continuing", "closing", "resetting"} {
		hosts[host+".example.com"] = remote.HostOptions{PlainHTTP: &yes}
	}
	for host, test := range map[string]struct {
		kind     error
		hint     string
		attempts int
	}{
		"other-ca.example.com":   {registry.ErrProtocol, "its own where it signed that itself", 1},
		"private-ca.example.com": {registry.ErrProtocol, `registries = { "private-ca.example.com" = { ca_certificate = file("ca.pem") } }`, 1},
		"other-name.example.com": {registry.ErrProtocol, "not valid for this host: it was made for other names or addresses", 1},
		"plain.example.com":      {registry.ErrProtocol, `registries = { "plain.example.com" = { plain_http = true } }`, 1},
		"on-the-way.example.com": {registry.ErrProtocol, "no registry on the internet does without TLS", 1},
		"mutual.example.com":     {registry.ErrProtocol, `registries = { "mutual.example.com" = { client_certificate = `, 1},
		"tls.example.com":        {registry.ErrProtocol, `registries = { "tls.example.com" = { plain_http = false } }`, 1},
		"nginx.example.com":      {registry.ErrProtocol, `registries = { "nginx.example.com" = { plain_http = false } }`, 1},
		"binary.example.com":     {registry.ErrProtocol, `registries = { "binary.example.com" = { plain_http = false } }`, 1},
		"ssh.example.com":        {registry.ErrProtocol, "does not seem to be a registry", 1},
		"ssh-tls.example.com":    {registry.ErrProtocol, "does not seem to be a registry", 1},
		"bare.example.com":       {registry.ErrProtocol, `registries = { "bare.example.com" = { plain_http = true } }`, 1},
		"headers.example.com":    {registry.ErrProtocol, "does not seem to be a registry", 1},
		"informed.example.com":   {registry.ErrProtocol, "does not seem to be a registry", 1},
		"continuing.example.com": {registry.ErrProtocol, "does not seem to be a registry", 1},
		"port.example.com:5104":  {registry.ErrProtocol, `registries = { "port.example.com:5104" = { plain_http = true } }`, 1},
		// A connection may break for many reasons, so the request is retried.
		"closing.example.com":   {registry.ErrUnavailable, `registries = { "closing.example.com" = { plain_http = false } }`, 6},
		"resetting.example.com": {registry.ErrUnavailable, `registries = { "resetting.example.com" = { plain_http = false } }`, 6},
		"nowhere.example.com":   {registry.ErrUnavailable, "could not be found", 1},
		"nobody.example.com":    {registry.ErrUnavailable, "Nothing listens there", 6},
	} {
		t.Run(host, func(t *testing.T) {
			c := newClient(t, n.options, settings(hosts))
			_, err := c.pull(t, host+"/app").GetManifest(c.context(t), "1")
			e := assertErrorKind(t, err, test.kind)
			assertContains(t, e.Hint, test.hint)
			if host == "on-the-way.example.com" && strings.Contains(e.Hint, "plain_http") {
				t.Errorf("hint = %q, want no advice to send credentials in plain text", e.Hint)
			}
			if strings.HasPrefix(host, "ssh") && strings.Contains(e.Hint, "plain_http") {
				t.Errorf("hint = %q, want no advice to set plain_http", e.Hint)
			}
			if strings.Contains(e.Error(), "possibly because") {
				t.Errorf("error = %v, want no text from the certificate", e)
			}
			if sent, _ := c.sent(); sent != test.attempts {
				t.Errorf("attempts = %d, want %d: %v", sent, test.attempts, err)
			}
		})
	}
}

// Once a host has responded, a broken connection does not mean that the host requires TLS.
func TestTransportError_NoTLSHintAfterResponse(t *testing.T) {
	for name, test := range map[string]struct {
		handler func(http.ResponseWriter)
		kind    error
	}{
		"connection_closed": {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, registry.ErrUnavailable},
		"tls_alert": {func(w http.ResponseWriter) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = io.WriteString(conn, "\x15\x03\x01\x00\x02\x02\x46")
			_ = conn.Close()
		}, registry.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) { testLateFailure(t, test.handler, test.kind) })
	}
}

func testLateFailure(t *testing.T, handler func(http.ResponseWriter), kind error) {
	t.Helper()
	p := scripted(t, registrytest.Behaviour{})
	p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	c := newClient(t, singleAttempt)
	repo := c.pull(t, p.Ref("app", "1"))
	if _, err := repo.Resolve(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	p.On(".*", ".*").Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { handler(w) })
	_, err := repo.GetManifest(t.Context(), "1")
	if e := assertErrorKind(t, err, kind); strings.Contains(e.Hint, "plain_http") {
		t.Errorf("hint = %q, want no plain_http", e.Hint)
	}
}

// The hint must name the host that is down. Otherwise the user would suspect the registry.
func TestTransportError_RedirectTargetDown(t *testing.T) {
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    []string
	}{
		"token_server": {bearerChallenge("https://dead.example.com/token"), []string{"Nothing listens at dead.example.com", "The registry has answered"}},
		"storage_host": {redirect("https://dead.example.com:8443/blob"), []string{"Nothing listens at dead.example.com:8443", "The registry has answered"}},
		"unknown_host": {redirect("https://nowhere.example.com/blob"), []string{"nowhere.example.com could not be found", "The registry has answered"}},
	} {
		n := newFakeNetwork(t)
		n.serve(t, "registry.example.com", registryAddress, test.handler)
		n.name("dead.example.com", otherAddress)
		_, err := newClient(t, n.options, singleAttempt, settings(n.trustedHosts("registry.example.com"))).pull(t, "registry.example.com/app").GetManifest(t.Context(), "1")
		e := assertErrorKind(t, err, registry.ErrUnavailable)
		assertContains(t, e.Hint, test.want...)
		if strings.Contains(e.Hint, "whether the registry is running") {
			t.Errorf("%s: hint = %s", name, e.Hint)
		}
	}
}
