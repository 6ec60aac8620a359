package provider

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// resolveTestHost resolves the host names of the tests.
func resolveTestHost(_ context.Context, host string) ([]netip.Addr, error) {
	known := map[string]string{"dev.example.com": "192.0.2.1", "prod.example.com": "192.0.2.2", "also-dev.example.com": "192.0.2.1", "six.example.com": "2001:db8::1"}
	if known[host] == "" {
		return nil, errors.New("no such host")
	}
	return []netip.Addr{netip.MustParseAddr(known[host])}, nil
}

// newMayBeSame returns the MayBeSameRegistry method of a client that uses resolveTestHost.
func newMayBeSame(t *testing.T) func(ctx context.Context, a, b string) bool {
	t.Helper()
	client, err := remote.New(remote.Options{Resolve: resolveTestHost})
	if err != nil {
		t.Fatal(err)
	}
	return client.MayBeSameRegistry
}

func TestTagOwners_AliasHosts(t *testing.T) {
	t.Parallel()
	one, two := digest.FromString("one"), digest.FromString("two")
	for name, c := range map[string]struct {
		other  string
		digest digest.Digest
		same   bool
	}{
		"same_address":    {"192.0.2.1/app", one, true},
		"unknown_address": {"unknown.example.com/app", one, true},
		"other_digest":    {"192.0.2.1/app", two, false},
		"other_address":   {"prod.example.com/app", one, false},
		"other_path":      {"192.0.2.1/other", one, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			put, unchanged := map[string]digest.Digest{"1": one}, declaration{digest: c.digest, unchanged: true}
			both := func() (dev, other *repoOwners) {
				all := tagOwners{mayBeSame: newMayBeSame(t)}
				return ownersOf(t, &all, "dev.example.com/app"), ownersOf(t, &all, c.other)
			}

			dev, other := both()
			if _, err := other.plan(unchanged, "1"); err != nil {
				t.Fatal(err)
			}
			if spared, err := dev.planRemoval(put, false); slices.Equal(spared, []string{"1"}) != c.same || err != nil {
				t.Errorf("planRemoval() = %q, %v, want the tag spared: %t", spared, err, c.same)
			}
			if _, err := dev.planRemoval(put, true); errors.Is(err, registry.ErrTagHeld) != c.same {
				t.Errorf("binding planRemoval() error = %v, want one: %t", err, c.same)
			}

			dev, other = both()
			if _, err := dev.planRemoval(put, false); err != nil {
				t.Fatal(err)
			}
			if affected, err := other.plan(unchanged, "1"); affected != c.same || err != nil {
				t.Errorf("plan() = %t, %v, want %t", affected, err, c.same)
			}

			dev, other = both()
			if _, err := other.own(t.Context(), tagTarget{digest: c.digest}, "1"); err != nil {
				t.Fatal(err)
			}
			err := dev.remove(t.Context(), put, func(others protectedTags) {
				if others.contains("1") != c.same {
					t.Errorf("remove() contains the tag: %t, want %t", others.contains("1"), c.same)
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTagOwners_RemovalLocksAliases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one := digest.FromString("one")
		all := tagOwners{mayBeSame: newMayBeSame(t)}
		dev, address, prod := ownersOf(t, &all, "dev.example.com/app"), ownersOf(t, &all, "192.0.2.1/app"), ownersOf(t, &all, "prod.example.com/app")
		owned := make(chan bool, 1)
		err := dev.remove(t.Context(), map[string]digest.Digest{"1": one}, func(protectedTags) {
			go func() {
				removed, err := address.own(t.Context(), tagTarget{digest: one}, "1")
				owned <- removed && err == nil
			}()
			synctest.Wait()
			if len(owned) > 0 {
				t.Error("own() on a host that may be the same does not wait for the removal")
			}
			if _, err := prod.own(t.Context(), tagTarget{digest: one}, "1"); err != nil {
				t.Errorf("own() on another host error = %v", err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if !<-owned {
			t.Error("own() after the removal does not report it")
		}
	})
}

// TestTagOwners_AliasLockOrder checks that removals from repositories that are aliases of each
// other run one at a time, without deadlock.
func TestTagOwners_AliasLockOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := tagOwners{mayBeSame: func(context.Context, string, string) bool { return true }}
		names := []string{"a.example.com/app", "b.example.com/app", "c.example.com/app"}
		var runs atomic.Int64
		done := make(chan error)
		for i := range 60 {
			go func() {
				destination, _ := parseDestination(names[i%len(names)] + ":1")
				done <- all.forRepository(t.Context(), destination).remove(t.Context(), nil, func(protectedTags) {
					if runs.Add(1) != 1 {
						t.Error("two removals run at once")
					}
					<-time.After(time.Millisecond) // virtual time of the synctest bubble
					runs.Add(-1)
				})
			}()
		}
		for range 60 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}
