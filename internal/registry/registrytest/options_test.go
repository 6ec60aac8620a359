package registrytest_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// starter starts a registry of one kind.
type starter = func(testing.TB, ...registrytest.Option) *registrytest.Registry

func TestNoDelete(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start starter) {
		reg := start(t, registrytest.NoDelete())
		pushed := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
		said := failures(t, func(t testing.TB) { reg.DeleteManifest(t, "app", pushed.Digest) })
		if !strings.Contains(said, "405") || !strings.Contains(said, "UNSUPPORTED") {
			t.Errorf("deleting gave %q, want HTTP 405 with UNSUPPORTED", said)
		}
		if !reg.HasManifest(t, "app", "1.0") {
			t.Error("the manifest is gone")
		}
	})
}

func TestReadOnly(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start starter) {
		reg := start(t, registrytest.ReadOnly())
		if said := failures(t, func(t testing.TB) { reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"}) }); !strings.Contains(said, "405") {
			t.Errorf("pushing gave %q, want HTTP 405", said)
		}
	})
}

func TestRootKeepsContentOnDisk(t *testing.T) {
	for kind, start := range map[string]starter{"v3": registrytest.V3, "v2": registrytest.V2} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			pushed := start(t, registrytest.Root(dir)).Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
			if entries, err := os.ReadDir(dir); err != nil || len(entries) == 0 {
				t.Errorf("the directory has %d entries (%v)", len(entries), err)
			}
			registrytest.Same(t, pushed.Tree, start(t, registrytest.Root(dir)).Read(t, "app", "1.0"))
		})
	}
}

func TestBasicAuth(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start starter) {
		reg := start(t, registrytest.BasicAuth("ci", "secret"))
		pushed := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
		registrytest.Same(t, pushed.Tree, reg.Read(t, "app", "1.0"))

		for password, want := range map[string]int{"": 401, "wrong": 401, "secret": 200} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, reg.URL()+"/v2/app/tags/list", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if password != "" {
				req.SetBasicAuth("ci", password)
			}
			res := send(t, req)
			if res.StatusCode != want {
				t.Errorf("password %q: %s, want %d", password, res.Status, want)
			}
			if challenge := res.Header.Get("WWW-Authenticate"); want == 401 && !strings.HasPrefix(challenge, "Basic realm=") {
				t.Errorf("password %q: challenged with %q", password, challenge)
			}
		}
	})
}

func TestTLS(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start starter) {
		reg := start(t, registrytest.TLS("registry.example.com"))
		pushed := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
		registrytest.Same(t, pushed.Tree, reg.Read(t, "app", "1.0"))

		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(reg.CA)
		for name, want := range map[string]bool{"127.0.0.1": true, "localhost": true, "registry.example.com": true, "other.example.com": false} {
			conn, err := tls.Dial("tcp", reg.Addr, &tls.Config{RootCAs: pool, ServerName: name})
			if (err == nil) != want {
				t.Errorf("as %s: %v", name, err)
			}
			if err == nil {
				_ = conn.Close()
			}
		}
		if !strings.HasPrefix(reg.URL(), "https://127.0.0.1:") {
			t.Errorf("its URL is %s", reg.URL())
		}
	})
}

func TestV3RefusesSchema1(t *testing.T) {
	said := failures(t, func(t testing.TB) { registrytest.V3(t, registrytest.Schema1()) })
	if !strings.Contains(said, "did not start") || !strings.Contains(said, "use registry-v2") {
		t.Errorf("said %q", said)
	}
}

func TestRegistriesEndWithTheirTest(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start starter) {
		var addr string
		said := failures(t, func(t testing.TB) {
			reg := start(t)
			reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
			addr = reg.Addr
		})
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			t.Error("it still listens")
		}
		if said != "" {
			t.Error(said)
		}
	})
}

// send does a request and closes the answer.
func send(t *testing.T, req *http.Request) *http.Response {
	t.Helper()
	res, err := new(http.Client).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res
}
