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

// starter starts a registry of a certain kind.
type starter = func(testing.TB, ...registrytest.Option) *registrytest.Registry

func TestOption_NoDelete(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start starter) {
		reg := start(t, registrytest.NoDelete())
		pushed := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
		failure := failures(t, func(t testing.TB) { reg.DeleteManifest(t, "app", pushed.Digest) })
		if !strings.Contains(failure, "405") || !strings.Contains(failure, "UNSUPPORTED") {
			t.Errorf("DeleteManifest() failure = %q, want HTTP 405 with UNSUPPORTED", failure)
		}
		if !reg.HasManifest(t, "app", "1.0") {
			t.Error("DeleteManifest() deleted the manifest")
		}
	})
}

func TestOption_ReadOnly(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start starter) {
		reg := start(t, registrytest.ReadOnly())
		if failure := failures(t, func(t testing.TB) { reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"}) }); !strings.Contains(failure, "405") {
			t.Errorf("Push() failure = %q, want HTTP 405", failure)
		}
	})
}

func TestOption_Root(t *testing.T) {
	for kind, start := range map[string]starter{"v3": registrytest.V3, "v2": registrytest.V2} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			pushed := start(t, registrytest.Root(dir)).Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
			if entries, err := os.ReadDir(dir); err != nil || len(entries) == 0 {
				t.Errorf("directory has %d entries, %v, want some", len(entries), err)
			}
			registrytest.Same(t, pushed.Tree, start(t, registrytest.Root(dir)).Read(t, "app", "1.0"))
		})
	}
}

func TestOption_BasicAuth(t *testing.T) {
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
				t.Errorf("status with password %q = %s, want %d", password, res.Status, want)
			}
			if challenge := res.Header.Get("WWW-Authenticate"); want == 401 && !strings.HasPrefix(challenge, "Basic realm=") {
				t.Errorf("challenge with password %q = %q, want Basic", password, challenge)
			}
		}
	})
}

func TestOption_TLS(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start starter) {
		reg := start(t, registrytest.TLS("registry.example.com"))
		pushed := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
		registrytest.Same(t, pushed.Tree, reg.Read(t, "app", "1.0"))

		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(reg.CA)
		for name, want := range map[string]bool{"127.0.0.1": true, "localhost": true, "registry.example.com": true, "other.example.com": false} {
			conn, err := tls.Dial("tcp", reg.Addr, &tls.Config{RootCAs: pool, ServerName: name})
			if (err == nil) != want {
				t.Errorf("Dial() as %s = %v, want success %t", name, err, want)
			}
			if err == nil {
				_ = conn.Close()
			}
		}
		if !strings.HasPrefix(reg.URL(), "https://127.0.0.1:") {
			t.Errorf("URL() = %s, want https", reg.URL())
		}
	})
}

func TestV3_RejectsSchema1(t *testing.T) {
	failure := failures(t, func(t testing.TB) { registrytest.V3(t, registrytest.Schema1()) })
	if !strings.Contains(failure, "did not start") || !strings.Contains(failure, "use registry-v2") {
		t.Errorf("V3() failure = %q, want a hint to use registry-v2", failure)
	}
}

func TestRegistry_StopsWithTest(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start starter) {
		var addr string
		failure := failures(t, func(t testing.TB) {
			reg := start(t)
			reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
			addr = reg.Addr
		})
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			t.Error("the registry still listens after its test")
		}
		if failure != "" {
			t.Error(failure)
		}
	})
}

// send sends a request and closes the body of the response.
func send(t *testing.T, req *http.Request) *http.Response {
	t.Helper()
	res, err := new(http.Client).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res
}
