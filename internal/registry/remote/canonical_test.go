package remote_test

import (
	"context"
	"encoding/base64"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

func TestCanonicalHost_Spellings(t *testing.T) {
	yes, no := true, false
	plain, tls := remote.HostOptions{PlainHTTP: &yes}, remote.HostOptions{PlainHTTP: &no}
	few := remote.HostOptions{MaxConcurrentRequests: 2}
	for name, test := range map[string]struct {
		hosts map[string]remote.HostOptions
		want  map[string]string // by spelling
	}{
		"no_settings": {nil, map[string]string{
			"127.0.0.1":                  "127.0.0.1",
			"127.0.0.1:80":               "127.0.0.1",
			"127.0.0.1:080":              "127.0.0.1",
			"127.0.0.1:443":              "127.0.0.1:443",
			"[::ffff:127.0.0.1]:80":      "127.0.0.1",
			"LocalHost:80":               "localhost",
			"localhost:5000":             "localhost:5000",
			"[0:0:0:0:0:0:0:1]:80":       "[::1]",
			"[2001:db8::1]:443":          "[2001:db8::1]",
			"Example.COM:443":            "example.com",
			"example.com:0443":           "example.com",
			"example.com:80":             "example.com:80",
			"bücher.example:443":         "xn--bcher-kva.example",
			"index.docker.io:443":        "docker.io",
			"registry:443":               "registry:443", // "registry/app" would be on Docker Hub
			"registry.example.com.:443":  "registry.example.com.:443",
			"https://registry.example/x": "https://registry.example/x",
		}},
		"plain_http": {map[string]remote.HostOptions{"example.com": plain}, map[string]string{
			"example.com:80": "example.com", "example.com": "example.com", "example.com:443": "example.com:443",
		}},
		"plain_http_at_the_port": {map[string]remote.HostOptions{"example.com:80": plain}, map[string]string{
			"example.com:80": "example.com:80", "example.com": "example.com", "example.com:443": "example.com",
		}},
		"plain_http_at_the_port_of_tls": {map[string]remote.HostOptions{"example.com:443": plain}, map[string]string{
			"example.com:443": "example.com:443", "example.com": "example.com", "example.com:80": "example.com:80",
		}},
		"tls_on_loopback": {map[string]remote.HostOptions{"127.0.0.1": tls}, map[string]string{
			"127.0.0.1:443": "127.0.0.1", "127.0.0.1:80": "127.0.0.1:80",
		}},
		"tls_on_loopback_at_the_port": {map[string]remote.HostOptions{"127.0.0.1:443": tls}, map[string]string{
			"127.0.0.1:443": "127.0.0.1:443", "127.0.0.1": "127.0.0.1", "127.0.0.1:80": "127.0.0.1",
		}},
		"limit_at_the_port": {map[string]remote.HostOptions{"Example.com:0443": few, "localhost:80": few}, map[string]string{
			"example.com:443": "example.com", "example.com": "example.com", "localhost:80": "localhost", "localhost": "localhost",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, settings(test.hosts))
			for host, want := range test.want {
				got := c.CanonicalHost(host)
				if got != want {
					t.Errorf("CanonicalHost(%q) = %q, want %q", host, got, want)
				}
				if again := c.CanonicalHost(got); again != got {
					t.Errorf("CanonicalHost(%q) = %q, want the same", got, again)
				}
			}
		})
	}
}

func TestCanonicalHost_Options(t *testing.T) {
	yes := true
	for key, references := range map[string][]string{
		"example.com":     {"example.com/app", "Example.com:443/app"},
		"example.com:443": {"example.com/app", "example.com:00443/app"},
		"127.0.0.1:80":    {"127.0.0.1/app", "[::ffff:127.0.0.1]:80/app"},
		"127.0.0.1":       {"127.0.0.1/app", "127.0.0.1:080/app"},
	} {
		c := newClient(t, settings(map[string]remote.HostOptions{key: {MaxConcurrentRequests: 3}}))
		for _, reference := range references {
			if got := c.Allowed(parse(t, reference).Host); got != 3 {
				t.Errorf("with options for %s, the limit of %s = %d, want 3", key, reference, got)
			}
		}
	}
	// An option for one port must not disable TLS on another port.
	for _, port := range []string{"80", "443"} {
		c := newClient(t, settings(map[string]remote.HostOptions{"example.com:" + port: {PlainHTTP: &yes}}))
		if c.PlainHTTP("example.com") || !c.PlainHTTP("example.com:"+port) {
			t.Errorf("the scheme of example.com depends on the options for port %s", port)
		}
	}
}

func TestNew_DuplicateHostOptions(t *testing.T) {
	yes := true
	none := ""
	for name, test := range map[string]struct {
		hosts map[string]remote.HostOptions
		twice bool
	}{
		"tls":                  {map[string]remote.HostOptions{"example.com": {}, "example.com:443": {}}, true},
		"leading_zero":         {map[string]remote.HostOptions{"example.com:443": {}, "example.com:0443": {}}, true},
		"plain_http":           {map[string]remote.HostOptions{"example.com": {PlainHTTP: &yes}, "example.com:80": {}}, true},
		"loopback":             {map[string]remote.HostOptions{"[::1]:80": {}, "[0::1]": {}}, true},
		"other_ports":          {map[string]remote.HostOptions{"example.com": {}, "example.com:80": {PlainHTTP: &yes}, "example.com:5000": {}}, false},
		"tls_besides_loopback": {map[string]remote.HostOptions{"127.0.0.1": {}, "127.0.0.1:443": {InsecureSkipTLSVerify: true}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := remote.New(remote.Options{Hosts: test.hosts, Credentials: auth.Options{DockerConfigPath: &none}})
			if twice := err != nil && strings.Contains(err.Error(), "there are two settings for the host"); twice != test.twice || !twice && err != nil {
				t.Errorf("New() = %v, want an error: %t", err, test.twice)
			}
		})
	}
}

// throughPort80 connects 127.0.0.1:80 to a registry of the test.
func throughPort80(p *registrytest.Proxy) func(*remote.Options) {
	return func(o *remote.Options) {
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "127.0.0.1:80" {
				address = p.Addr
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	}
}

func TestCanonicalHost_SharedLimitAndMounts(t *testing.T) {
	proxy := scripted(t, registrytest.Behaviour{})
	c := newClient(t, throughPort80(proxy), settings(map[string]remote.HostOptions{"127.0.0.1:080": {MaxConcurrentRequests: 2}}))
	a, b := c.push(t, "127.0.0.1/a"), c.push(t, "[::ffff:127.0.0.1]:80/b")
	if a.Host() != b.Host() || a.Name() != "127.0.0.1/a" || b.Name() != "127.0.0.1/b" {
		t.Errorf("repositories = %s on %s and %s on %s, want both on one host", a.Name(), a.Host(), b.Name(), b.Host())
	}
	src := scripted(t, registrytest.Behaviour{})
	pushed := src.Push(t, "app", "1", registrytest.Image{Seed: "shared"})
	engine := copier.New(nil)
	for _, destination := range []registry.Repository{a, b} {
		report, err := engine.Copy(t.Context(), copier.Job{
			Source: c.pull(t, src.Ref("app", "1")), Destination: destination, Reference: "1", Digest: pushed.Digest, Tags: []string{"1"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := report.Copied.Blobs; destination == b && n != 0 {
			t.Errorf("blobs sent again under the other spelling = %d, want 0", n)
		}
	}
	if mounted := proxy.Count(http.MethodPost, "/v2/b/blobs/uploads/"); mounted == 0 || proxy.Peak() > 2 {
		t.Errorf("mounts and uploads = %d, want some; concurrent requests = %d, want at most 2", mounted, proxy.Peak())
	}
}

func TestCanonicalHost_SharedTokens(t *testing.T) {
	n := newFakeNetwork(t)
	var fetched atomic.Int32
	n.serve(t, "registry.example.com", registryAddress, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			fetched.Add(1)
			_, _ = w.Write([]byte(`{"token":"abc"}`))
		case r.Header.Get("Authorization") == "":
			bearerChallenge("https://registry.example.com/token")(w, r)
		default:
			serveManifest(w, r)
		}
	})
	c := newClient(t, n.options, settings(n.trustedHosts("registry.example.com:443")))
	for _, reference := range []string{"registry.example.com/app", "Registry.Example.com:443/app", "registry.example.com:0443/app"} {
		if err := get(t.Context(), c.pull(t, reference)); err != nil {
			t.Fatal(err)
		}
	}
	if got := fetched.Load(); got != 1 {
		t.Errorf("fetched tokens = %d, want 1 for all spellings of the host", got)
	}
}

func TestCanonicalHost_Credentials(t *testing.T) {
	login := base64.StdEncoding.EncodeToString([]byte("ci:" + canary))
	for name, option := range map[string]func(key string) func(*remote.Options){
		"registries": func(key string) func(*remote.Options) {
			return credentials(map[string]auth.Credential{key: {Username: "ci", Password: canary}})
		},
		"prefix": func(key string) func(*remote.Options) {
			return credentials(map[string]auth.Credential{key + "/app": {Username: "ci", Password: canary}})
		},
		"docker_config": func(key string) func(*remote.Options) {
			return withDockerConfig(`{"auths": {"` + key + `": {"auth": "` + login + `"}}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newFakeNetwork(t)
			n.serve(t, "registry.example.com", registryAddress, requireLogin(serveManifest))
			for _, key := range []string{"registry.example.com", "registry.example.com:443", "REGISTRY.example.com:0443"} {
				c := newClient(t, n.options, option(key), settings(n.trustedHosts("registry.example.com")))
				for _, reference := range []string{"registry.example.com/app", "registry.example.com:443/app"} {
					if err := get(t.Context(), c.pull(t, reference)); err != nil {
						t.Errorf("GetManifest() with credentials for %s from %s = %v", key, reference, err)
					}
				}
			}
		})
	}
}

// A redirect to another spelling of the registry's own host, with or without a port or
// with leading zeros, keeps the origin.
func TestCanonicalHost_Redirect(t *testing.T) {
	for name, location := range map[string]string{
		"port":     "https://registry.example.com:443/there",
		"zeros":    "https://registry.example.com:0443/there",
		"capitals": "https://REGISTRY.example.com/there",
	} {
		t.Run(name, func(t *testing.T) {
			n := newFakeNetwork(t)
			n.serve(t, "registry.example.com", registryAddress, requireLogin(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/there" {
					redirect(location)(w, r)
					return
				}
				_, _ = w.Write([]byte("content"))
			}))
			n.at(net.JoinHostPort(registryAddress, "0443"), n.listeners[net.JoinHostPort(registryAddress, "443")])
			n.name("REGISTRY.example.com", registryAddress)
			c := newClient(t, n.options, withRegistryLogin, settings(n.trustedHosts("registry.example.com")))
			if _, err := readAll(t, c.pull(t, "registry.example.com/app"), descriptor("content")); err != nil {
				t.Error(err)
			}
		})
	}
}
