package remote_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
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
			var redirectTarget atomic.Pointer[string]
			n.serve(t, "a.example.com", "203.0.113.1", func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/blobs/") {
					redirect("https://"+*redirectTarget.Load()+"/blob")(w, r)
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
				for _, target := range []string{"b.example.com", "a.example.com:8443"} {
					redirectTarget.Store(&target)
					_, err := readAll(t, c.pull(t, "a.example.com/app"), descriptor("{}"))
					assertContains(t, assertErrorKind(t, err, registry.ErrProtocol).Error(), "at "+target)
				}
			}
		})
	}
}

func TestTLS_ClientCertificatePerHost(t *testing.T) {
	n := newFakeNetwork(t)
	shown := map[string]int{}
	var mu sync.Mutex
	serve := func(name, address string, handler http.HandlerFunc) *httptest.Server {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			shown[name] += len(r.TLS.PeerCertificates)
			mu.Unlock()
			handler(w, r)
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

// The server supports HTTP/2, but the client does not use it. With HTTP/1.1, a GOAWAY
// frame cannot end many requests at once.
func TestTransport_HTTP2Disabled(t *testing.T) {
	n := newFakeNetwork(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			t.Errorf("protocol = %s, want HTTP/1", r.Proto)
		}
		serveManifest(w, r)
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{Certificates: []tls.Certificate{n.authority.issue(t, "registry.example.com")}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	n.name("registry.example.com", registryAddress)
	n.at(registryAddress+":443", address(server))
	proxied := []string{}
	for _, proxy := range []*url.URL{nil, n.proxy(t, &proxied)} {
		c := newClient(t, n.options, withProxy(proxy), settings(n.trustedHosts("registry.example.com")))
		if _, err := c.pull(t, "registry.example.com/app").GetManifest(t.Context(), "1"); err != nil {
			t.Error(err)
		}
	}
}
