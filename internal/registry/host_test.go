package registry_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestNormalHost_Spellings(t *testing.T) {
	for host, want := range map[string]string{
		"registry.example.com":           "registry.example.com",
		"Registry.Example.COM:5000":      "registry.example.com:5000",
		"registry.example.com:080":       "registry.example.com:80",
		"registry.example.com:00443":     "registry.example.com:443",
		"registry.example.com:443":       "registry.example.com:443",
		"registry":                       "registry",
		"LocalHost:05000":                "localhost:5000",
		"127.0.0.1:080":                  "127.0.0.1:80",
		"[0:0:0:0:0:0:0:1]":              "[::1]",
		"[0000::0001]:05000":             "[::1]:5000",
		"[2001:DB8:0:0:0:0:0:1]":         "[2001:db8::1]",
		"[::FFFF:7F00:1]:5000":           "127.0.0.1:5000",
		"[::ffff:127.0.0.1]":             "127.0.0.1",
		"[64:ff9b::10.0.0.1]":            "[64:ff9b::a00:1]",
		"bücher.example":                 "xn--bcher-kva.example",
		"BÜCHER.Example:0443":            "xn--bcher-kva.example:443",
		"bu\u0308cher.example":           "xn--bcher-kva.example",
		"XN--Bcher-KVA.example":          "xn--bcher-kva.example",
		"straße.example":                 "xn--strae-oqa.example",
		"b\u00fccher\u3002b.example:443": "xn--bcher-kva.b.example:443",
		"docker.io":                      "docker.io",
		"Index.Docker.IO":                "docker.io",
		"registry-1.docker.io:443":       "docker.io",
		"docker.io:0443":                 "docker.io",
		"docker.io:5000":                 "docker.io:5000",
		"auth.docker.io":                 "auth.docker.io",
		"1.example":                      "1.example",
		"0x1.example":                    "0x1.example",
		"a1b2c3:5000":                    "a1b2c3:5000",
	} {
		got, err := registry.NormalHost(host)
		if err != nil || got != want {
			t.Errorf("NormalHost(%q) = %q, %v; want %q", host, got, err, want)
		}
		if again, err := registry.NormalHost(got); err != nil || again != got {
			t.Errorf("NormalHost(%q) = %q, %v; want the same", got, again, err)
		}
	}
}

func TestNormalHost_Invalid(t *testing.T) {
	for host, want := range map[string]string{
		"":                         "not a host",
		"registry.example.com.":    "not a host",
		"registry.example.com.:80": "not a host",
		"bücher.example.":          "not a host",
		"localhost.":               "not a host",
		"a..b":                     "not a host",
		"my_host.example":          "not a host",
		"user@registry.example":    "not a host",
		"::1":                      "not a host",
		"0:0:1":                    "not a host",
		"registry.example:":        "the port",
		"registry.example:0":       "the port",
		"registry.example:65536":   "the port",
		"registry.example:+80":     "the port",
		"registry.example:８０":      "the port",
		"[fe80::1%eth0]":           "not an IPv6 address",
		"[fe80::1%25eth0]:80":      "not an IPv6 address",
		"[127.0.0.1]":              "not an IPv6 address",
		"[::1":                     "not an IPv6 address",
		"doc\u212aer.io":           `'\u212a'`,
		"１２７.0.0.1":                "another spelling",
		"bü_cher.example":          "internationalized",
		"xn--\u0000.ü":             "internationalized",
	} {
		if got, err := registry.NormalHost(host); err == nil || got != "" || !strings.Contains(err.Error(), want) {
			t.Errorf("NormalHost(%q) = %q, %v; want an error with %q", host, got, err, want)
		}
	}
}

func TestEndpoint_Spellings(t *testing.T) {
	for text, want := range map[string][2]string{
		"https://Registry.example.com/v2/":  {"registry.example.com", "443"},
		"https://registry.example.com:0443": {"registry.example.com", "443"},
		"http://registry.example.com":       {"registry.example.com", "80"},
		"http://registry.example.com:443":   {"registry.example.com", "443"},
		"https://registry.example.com.":     {"registry.example.com.", "443"},
		"https://bücher.example":            {"xn--bcher-kva.example", "443"},
		"https://[0:0:0:0:0:0:0:1]:5000":    {"[::1]", "5000"},
		"https://[::ffff:127.0.0.1]":        {"127.0.0.1", "443"},
		"https://index.docker.io":           {"index.docker.io", "443"},
		"https://minio_storage:9000":        {"minio_storage", "9000"},
		"https://doc\u212aer.io":            {"docker.io", "443"}, // net/http connects to this host
		"ftp://registry.example.com":        {"registry.example.com", ""},
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if name, port := registry.Endpoint(u); name != want[0] || port != want[1] {
			t.Errorf("Endpoint(%s) = %s, %s; want %v", text, name, port, want)
		}
	}
}

func FuzzNormalHost(f *testing.F) {
	for _, s := range []string{
		"", "localhost:080", "Registry.Example.com:443", "[0::1]:1", "[::ffff:1.2.3.4]", "bücher.example:0443", "doc\u212aer.io", "xn--bcher-kva.example", "127.1", "a.", "index.docker.io:443", "ß。a:1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		normal, err := registry.NormalHost(s)
		if err != nil {
			return
		}
		if again, err := registry.NormalHost(normal); err != nil || again != normal {
			t.Errorf("NormalHost(%q) = %q, and NormalHost of that = %q, %v", s, normal, again, err)
		}
		if upper, err := registry.NormalHost(strings.ToUpper(normal)); err != nil || upper != normal {
			t.Errorf("NormalHost(%q) = %q, %v; want %q", strings.ToUpper(normal), upper, err, normal)
		}
		u, err := url.Parse("https://" + normal)
		if err != nil {
			t.Fatalf("NormalHost(%q) = %q, which is not a valid URL host: %v", s, normal, err)
		}
		if name, port := registry.Endpoint(u); normal != name && normal != name+":"+port {
			t.Errorf("Endpoint(%s) = %s, %s", u, name, port)
		}
	})
}
