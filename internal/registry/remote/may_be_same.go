package remote

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// lookupTimeout bounds the lookup of a name for MayBeSameRegistry.
const lookupTimeout = 3 * time.Second

// MayBeSameRegistry reports whether two hosts of references may be one registry under two
// names. That is the case if they are spellings of one host, if they share an address and
// the port, or if one of them cannot be resolved. Behind a proxy any two hosts may match,
// because often only the proxy resolves names.
//
// It takes at most a few seconds. The addresses are cached for the lifetime of the client.
func (c *Client) MayBeSameRegistry(ctx context.Context, hostA, hostB string) bool {
	a, b := c.hostOf(hostA), c.hostOf(hostB)
	if a == b {
		return true
	}
	ofA, ofB := c.addresses.lookup(ctx, c.dialer, a), c.addresses.lookup(ctx, c.dialer, b)
	if len(ofA) == 0 || len(ofB) == 0 {
		return true
	}
	return portOf(a.origin) == portOf(b.origin) &&
		slices.ContainsFunc(ofA, func(address netip.Addr) bool { return slices.Contains(ofB, address) })
}

// addressCache caches the addresses of names.
type addressCache struct {
	mu    sync.Mutex
	known map[string]func() []netip.Addr
}

// lookup returns the addresses of a host, or nil if it cannot be resolved.
func (b *addressCache) lookup(ctx context.Context, d dialer, h *host) []netip.Addr {
	name, _ := registry.Endpoint(h.origin)
	name = strings.Trim(name, "[]")
	b.mu.Lock()
	if b.known == nil {
		b.known = map[string]func() []netip.Addr{}
	}
	lookup, ok := b.known[name]
	if !ok {
		// The cached result must not depend on whether the first caller is canceled.
		ctx := context.WithoutCancel(ctx)
		lookup = sync.OnceValue(func() []netip.Addr { return resolveAddrs(ctx, d, name) })
		b.known[name] = lookup
	}
	b.mu.Unlock()
	return lookup()
}

// resolveAddrs returns the unmapped addresses of a name or of a literal IP address. It
// returns nil on errors.
func resolveAddrs(ctx context.Context, d dialer, name string) []netip.Addr {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := d.addresses(ctx, name)
	if err != nil {
		return nil
	}
	addresses := make([]netip.Addr, 0, len(found))
	for _, address := range found {
		addresses = append(addresses, address.Unmap())
	}
	return addresses
}
