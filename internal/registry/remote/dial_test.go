package remote_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

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
					t.Errorf("GetManifest() took %s with %d abandoned dials, want %s", began.elapsed(), abandoned.Load(), want)
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
