package remote_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

func TestMayBeSameRegistry_Pairs(t *testing.T) {
	n := newFakeNetwork(t)
	n.name("localhost", "::1", "127.0.0.1")
	n.name("dev.example.com", "203.0.113.1")
	n.name("prod.example.com", "203.0.113.2")
	n.name("alias.example.com", "203.0.113.9", "203.0.113.1")
	n.name("mapped.example.com", "::ffff:203.0.113.1")
	n.name("empty.example.com")
	n.name("registry-1.docker.io", "203.0.113.5")
	n.name("mirror.example.com", "203.0.113.5")
	yes := true
	c := newClient(t, n.options, settings(map[string]remote.HostOptions{"plain.example.com": {PlainHTTP: &yes}}))
	n.name("plain.example.com", "203.0.113.1")
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"dev.example.com", "dev.example.com:443", true},
		{"unknown.example.com", "Unknown.example.com:443", true},
		{"dev.example.com", "prod.example.com", false},
		{"dev.example.com", "alias.example.com", true},
		{"alias.example.com", "prod.example.com", false},
		{"dev.example.com", "mapped.example.com", true},
		{"dev.example.com", "203.0.113.1", true},
		{"dev.example.com:5000", "203.0.113.1:5000", true},
		{"dev.example.com:5000", "203.0.113.1", false},
		{"dev.example.com", "203.0.113.2", false},
		{"localhost:5000", "127.0.0.1:5000", true},
		{"localhost:5000", "[::1]:5000", true},
		{"localhost:5000", "127.0.0.1:5001", false},
		{"127.0.0.1:5000", "[::1]:5000", false},
		{"plain.example.com", "dev.example.com:80", true},
		{"plain.example.com", "dev.example.com", false},
		{"docker.io", "mirror.example.com", true},
		{"docker.io", "dev.example.com", false},
		{"unknown.example.com", "dev.example.com", true},
		{"empty.example.com", "dev.example.com", true},
	} {
		for _, pair := range [][2]string{{test.a, test.b}, {test.b, test.a}} {
			if got := c.MayBeSameRegistry(t.Context(), pair[0], pair[1]); got != test.want {
				t.Errorf("MayBeSameRegistry(%s, %s) = %t, want %t", pair[0], pair[1], got, test.want)
			}
		}
	}
}

// Each name is looked up once. The lookup has a deadline and does not end with the caller
// that started it.
func TestMayBeSameRegistry_Lookups(t *testing.T) {
	lookups := map[string]int{}
	c := newClient(t, func(o *remote.Options) {
		o.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			lookups[host]++
			if _, bounded := ctx.Deadline(); !bounded {
				t.Errorf("the lookup of %s has no deadline", host)
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if host == "broken.example.com" {
				return nil, errors.New("server misbehaving")
			}
			return []netip.Addr{netip.MustParseAddr("203.0.113.1")}, nil
		}
	})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		if !c.MayBeSameRegistry(canceled, "a.example.com", "b.example.com:443") || c.MayBeSameRegistry(canceled, "a.example.com", "b.example.com:5000") {
			t.Error("MayBeSameRegistry() depends on a canceled caller")
		}
		if !c.MayBeSameRegistry(t.Context(), "a.example.com", "broken.example.com") {
			t.Error("MayBeSameRegistry() of an unresolvable host = false, want true")
		}
	}
	for _, host := range []string{"a.example.com", "b.example.com", "broken.example.com"} {
		if lookups[host] != 1 {
			t.Errorf("lookups of %s = %d, want 1", host, lookups[host])
		}
	}
}
