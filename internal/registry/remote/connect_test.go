package remote_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// serveManifest responds to every request with a manifest.
func serveManifest(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", registry.MediaTypeDockerManifest)
	_, _ = io.WriteString(w, "{}")
}

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
		answer func(http.ResponseWriter)
		kind   error
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
		t.Run(name, func(t *testing.T) { testLateFailure(t, test.answer, test.kind) })
	}
}

func testLateFailure(t *testing.T, answer func(http.ResponseWriter), kind error) {
	t.Helper()
	p := scripted(t, registrytest.Behaviour{})
	p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	c := newClient(t, singleAttempt)
	repo := c.pull(t, p.Ref("app", "1"))
	if _, err := repo.Resolve(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	p.On(".*", ".*").Do(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { answer(w) })
	_, err := repo.GetManifest(t.Context(), "1")
	if e := assertErrorKind(t, err, kind); strings.Contains(e.Hint, "plain_http") {
		t.Errorf("hint = %q, want no plain_http", e.Hint)
	}
}

// serveRaw starts a server that passes the first bytes of each connection to answer and
// then closes the connection.
func serveRaw(t *testing.T, answer func(conn net.Conn, request string)) string {
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
				answer(conn, string(request[:n]))
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return listener.Addr().String()
}

func TestTLS_OptionsPerHost(t *testing.T) {
	for name, test := range map[string]struct {
		hosts func(n *fakeNetwork) map[string]remote.HostOptions
		a, b  error
	}{
		"ca_certificate": {func(n *fakeNetwork) map[string]remote.HostOptions { return n.trustedHosts("a.example.com") }, nil, registry.ErrProtocol},
		"insecure_skip_tls_verify": {func(*fakeNetwork) map[string]remote.HostOptions {
			return map[string]remote.HostOptions{"a.example.com": {InsecureSkipTLSVerify: true}}
		}, nil, registry.ErrProtocol},
		"no_options": {func(*fakeNetwork) map[string]remote.HostOptions { return nil }, registry.ErrProtocol, registry.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			n := newFakeNetwork(t)
			var elsewhere atomic.Pointer[string]
			n.serve(t, "a.example.com", "203.0.113.1", func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/blobs/") {
					redirect("https://"+*elsewhere.Load()+"/blob")(w, r)
					return
				}
				serveManifest(w, r)
			})
			n.at("203.0.113.1:8443", address(n.serveTLS(t, serveManifest, "a.example.com")))
			n.serve(t, "b.example.com", "203.0.113.2", serveManifest)
			c := newClient(t, n.options, settings(test.hosts(n)))
			for host, want := range map[string]error{"a.example.com": test.a, "b.example.com": test.b} {
				_, err := c.pull(t, host+"/app").GetManifest(t.Context(), "1")
				if want != nil {
					assertErrorKind(t, err, want)
				} else if err != nil {
					t.Errorf("%s: %v", host, err)
				}
			}
			if test.a == nil {
				for _, place := range []string{"b.example.com", "a.example.com:8443"} {
					elsewhere.Store(&place)
					_, err := readAll(t, c.pull(t, "a.example.com/app"), descriptor("{}"))
					assertContains(t, assertErrorKind(t, err, registry.ErrProtocol).Error(), "at "+place)
				}
			}
		})
	}
}

func TestTLS_ClientCertificatePerHost(t *testing.T) {
	n := newFakeNetwork(t)
	shown := map[string]int{}
	var mu sync.Mutex
	serve := func(name, address string, answer http.HandlerFunc) *httptest.Server {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			shown[name] += len(r.TLS.PeerCertificates)
			mu.Unlock()
			answer(w, r)
		}))
		server.Config.ErrorLog = discardLog
		server.TLS = &tls.Config{Certificates: []tls.Certificate{n.authority.issue(t, name)}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
		server.StartTLS()
		t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
		n.name(name, address)
		n.at(address+":443", server.Listener.Addr().String())
		return server
	}
	// The attacker redirects to the internal registry, which is in the options and
	// authenticates the client by its certificate.
	serve("internal.example.com", "203.0.113.1", serveBlob("content"))
	serve("attacker.example.com", "203.0.113.2", redirect("https://internal.example.com/blob"))
	certificate, key := encodePEM(t, n.authority.issue(t, "ci"))
	hosts := n.trustedHosts("attacker.example.com")
	hosts["internal.example.com"] = remote.HostOptions{CACertificate: n.authority.pem, ClientCertificate: certificate, ClientKey: auth.Secret(key)}
	c := newClient(t, n.options, settings(hosts))
	if _, err := readAll(t, c.pull(t, "attacker.example.com/app"), descriptor("content")); err != nil {
		t.Fatal(err)
	}
	if shown["internal.example.com"]+shown["attacker.example.com"] != 0 {
		t.Errorf("certificates received = %v, want none", shown)
	}
	if _, err := readAll(t, c.pull(t, "internal.example.com/app"), descriptor("content")); err != nil {
		t.Fatal(err)
	}
	if shown["internal.example.com"] != 1 {
		t.Errorf("certificates received by the host itself = %d, want 1", shown["internal.example.com"])
	}
}

func TestConnection_Reuse(t *testing.T) {
	n := newFakeNetwork(t)
	server := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := server.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	n.name("registry.example.com", registryAddress)
	n.at(registryAddress+":80", server.Addr)
	yes := true
	c := newClient(t, n.options, settings(map[string]remote.HostOptions{"registry.example.com": {PlainHTTP: &yes}}))
	repo := c.push(t, "registry.example.com/app")
	for range 10 {
		if _, err := repo.Resolve(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
		if _, err := repo.GetManifest(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
		if _, err := repo.GetManifest(t.Context(), "none"); !errors.Is(err, registry.ErrNotFound) {
			t.Fatal(err)
		}
		if _, err := readAll(t, repo, pushed.Blobs[0].Descriptor()); err != nil {
			t.Fatal(err)
		}
		if _, err := repo.PutBlob(t.Context(), descriptor("new"), registry.Content{Force: true, Open: newBody(t, "new").get().Open}); err != nil {
			t.Fatal(err)
		}
	}
	if n.conns != 1 {
		t.Errorf("connections = %d, want 1", n.conns)
	}
}

func TestConnection_ReuseAfterUnreadBody(t *testing.T) {
	n := newFakeNetwork(t)
	n.serve(t, "registry.example.com", registryAddress, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusAccepted)
		case r.URL.Path != "/blob":
			w.Header().Set("Location", "/blob")
			w.WriteHeader(http.StatusFound)
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 2000))
	})
	c := newClient(t, n.options, settings(n.trustedHosts("registry.example.com")))
	repo := c.push(t, "registry.example.com/app")
	for range 5 {
		if _, err := readAll(t, repo, descriptor(strings.Repeat("x", 2000))); err != nil {
			t.Fatal(err)
		}
		if err := repo.DeleteTag(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
	}
	if n.conns != 1 {
		t.Errorf("connections = %d, want 1", n.conns)
	}
}

func TestConnection_CloseHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, requests = 4, 20
		var open, peak, dialed, closed atomic.Int32
		m := servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			peak.Store(max(peak.Load(), open.Add(1)))
			<-time.After(time.Second)
			w.Header().Set("Connection", "close")
			open.Add(-1)
			serveManifest(w, r)
		})
		c := newClient(t, m.options, settings(map[string]remote.HostOptions{pipeHost: {MaxConcurrentRequests: limit}}), func(o *remote.Options) {
			dial := o.Dial
			o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dial(ctx, network, address)
				dialed.Add(1)
				return &notifyingConn{Conn: conn, closed: sync.OnceFunc(func() { closed.Add(1) })}, err
			}
		})
		var all sync.WaitGroup
		for range requests {
			all.Go(func() {
				if err := get(t.Context(), c.pull(t, pipeHost+"/app")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		synctest.Wait()
		if peak.Load() != limit || dialed.Load() != requests || closed.Load() != requests {
			t.Errorf("concurrent requests = %d, connections = %d, closed = %d, want 4, 20 and 20", peak.Load(), dialed.Load(), closed.Load())
		}
	})
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

func TestDial_NextAddress(t *testing.T) {
	for name, silent := range map[string]bool{"refused": false, "silent": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := servePipes(t, serveManifest)
				began := newClock()
				var abandoned atomic.Int32
				c := newClient(t, m.options, func(o *remote.Options) {
					o.Resolve = func(context.Context, string) ([]netip.Addr, error) {
						return []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("203.0.113.1")}, nil
					}
					o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
						switch {
						case address == "203.0.113.1:80":
							return m.dial(ctx, network, address)
						case silent:
							<-ctx.Done()
							abandoned.Add(1)
							return nil, ctx.Err()
						}
						return nil, errRefused
					}
					yes := true
					o.Hosts = map[string]remote.HostOptions{"registry.example.com": {PlainHTTP: &yes}}
				})
				if _, err := c.pull(t, "registry.example.com/app").GetManifest(t.Context(), "1"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				want := map[bool]time.Duration{false: 0, true: 250 * time.Millisecond}[silent]
				if began.elapsed() != want || abandoned.Load() != map[bool]int32{true: 1}[silent] {
					t.Errorf("GetManifest() took %s with %d abandoned attempts", began.elapsed(), abandoned.Load())
				}
			})
		})
	}
}

func TestDial_ClosesLateConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := servePipes(t, serveManifest)
		late, other := net.Pipe()
		c := newClient(t, m.options, func(o *remote.Options) {
			o.Resolve = func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("203.0.113.1")}, nil
			}
			o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if address == "203.0.113.1:80" {
					return m.dial(ctx, network, address)
				}
				<-time.After(time.Minute)
				return late, nil
			}
			yes := true
			o.Hosts = map[string]remote.HostOptions{"registry.example.com": {PlainHTTP: &yes}}
		})
		if _, err := c.pull(t, "registry.example.com/app").GetManifest(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("Read() from the late connection = %v, want EOF", err)
		}
	})
}

func TestNew_InvalidOptions(t *testing.T) {
	good := newAuthority(t)
	_, goodKey := encodePEM(t, good.issue(t, "x"))
	for name, test := range map[string]struct {
		hosts map[string]remote.HostOptions
		want  string
	}{
		"repository":              {map[string]remote.HostOptions{"ghcr.io/acme": {}}, "ghcr.io/acme"},
		"scheme":                  {map[string]remote.HostOptions{"https://ghcr.io": {}}, "https://ghcr.io"},
		"bare_word":               {map[string]remote.HostOptions{"registry": {}}, `"registry"`},
		"one_slot":                {map[string]remote.HostOptions{"ghcr.io": {MaxConcurrentRequests: 1}}, "at least 2"},
		"negative_rate":           {map[string]remote.HostOptions{"ghcr.io": {RequestsPerSecond: -1}}, "-1 requests per second"},
		"nan_rate":                {map[string]remote.HostOptions{"ghcr.io": {RequestsPerSecond: math.NaN()}}, "NaN requests per second"},
		"infinite_rate":           {map[string]remote.HostOptions{"ghcr.io": {RequestsPerSecond: math.Inf(1)}}, "+Inf requests per second"},
		"negative_limit":          {map[string]remote.HostOptions{"ghcr.io": {MaxConcurrentRequests: -1}}, "at least 2"},
		"key_as_ca":               {map[string]remote.HostOptions{"ghcr.io": {CACertificate: goodKey}}, "begins with a private key"},
		"invalid_ca":              {map[string]remote.HostOptions{"ghcr.io": {CACertificate: []byte("x")}}, "ghcr.io"},
		"key_without_certificate": {map[string]remote.HostOptions{"ghcr.io": {ClientKey: canary}}, "ghcr.io"},
		"certificate_without_key": {map[string]remote.HostOptions{"ghcr.io": {ClientCertificate: good.pem}}, "ghcr.io"},
		"duplicate_host":          {map[string]remote.HostOptions{"ghcr.io": {}, "GHCR.io": {}}, "two settings"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := remote.New(remote.Options{Hosts: test.hosts})
			if err == nil {
				t.Fatal("New() error = nil, want an error")
			}
			assertContains(t, err.Error(), test.want)
			assertNoSecret(t, "error", err.Error())
		})
	}
	for want, o := range map[string]remote.Options{
		"attempts":          {Attempts: -1},
		"backoff":           {Backoff: -1},
		"stall timeout":     {StallTimeout: -time.Second},
		"header timeout":    {HeaderTimeout: -time.Second},
		"largest manifest":  {MaxManifestBytes: -1},
		"credential helper": {Credentials: auth.Options{HelperTimeout: -1}},
		"in token_hosts":    {Credentials: auth.Options{Registries: map[string]auth.Credential{"ghcr.io": {TokenHosts: []string{"https://x"}}}}},
	} {
		if _, err := remote.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New() error = %v, want it to contain %q", err, want)
		}
	}
	none := ""
	if _, err := remote.New(remote.Options{Credentials: auth.Options{DockerConfigPath: &none, DockerConfigJSON: "{"}}); !errors.Is(err, registry.ErrCredentials) {
		t.Errorf("New() with unreadable credentials = %v, want ErrCredentials", err)
	}
}

// An option for TLS on a loopback host means that the host uses TLS.
func TestPlainHTTP_LoopbackWithTLSOptions(t *testing.T) {
	n := newFakeNetwork(t)
	host := address(n.serveTLS(t, serveManifest, "127.0.0.1"))
	certificate, key := encodePEM(t, n.authority.issue(t, "ci"))
	yes, no := true, false
	for name, test := range map[string]struct {
		settings remote.HostOptions
		plain    bool
	}{
		"none":                          {remote.HostOptions{}, true},
		"rate_limit":                    {remote.HostOptions{RequestsPerSecond: 1000}, true},
		"ca_certificate":                {remote.HostOptions{CACertificate: n.authority.pem}, false},
		"insecure_skip_tls_verify":      {remote.HostOptions{InsecureSkipTLSVerify: true}, false},
		"client_certificate":            {remote.HostOptions{ClientCertificate: certificate, ClientKey: auth.Secret(key)}, false},
		"ca_certificate_and_plain_http": {remote.HostOptions{CACertificate: n.authority.pem, PlainHTTP: &yes}, true},
		"plain_http_false":              {remote.HostOptions{PlainHTTP: &no}, false},
	} {
		c := newClient(t, settings(map[string]remote.HostOptions{host: test.settings}))
		if got := c.PlainHTTP(host); got != test.plain {
			t.Errorf("%s: PlainHTTP() = %t", name, got)
		}
	}
	c := newClient(t, settings(map[string]remote.HostOptions{host: {CACertificate: n.authority.pem}}))
	if _, err := c.pull(t, host+"/app").GetManifest(t.Context(), "1"); err != nil {
		t.Error(err)
	}
}

func TestResponseError_PlainHTTPToTLSServer(t *testing.T) {
	host := address(newFakeNetwork(t).serveTLS(t, serveManifest, "127.0.0.1"))
	_, err := newClient(t, singleAttempt).pull(t, host+"/app").GetManifest(t.Context(), "1")
	e := assertErrorKind(t, err, registry.ErrProtocol)
	assertContains(t, e.Error(), `HTTP 400: what answered says "Client sent an HTTP request to an HTTPS server."`)
	assertContains(t, e.Hint, "wants TLS", "plain_http = false")
}
