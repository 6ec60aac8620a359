package provider

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// sameRegistry decides whether two hosts may be one registry.
type sameRegistry struct {
	// resolve finds the addresses of a name. nil is that of the system.
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

// resolvePatience bounds each lookup. What cannot be resolved in time may be any
// registry.
const resolvePatience = 5 * time.Second

// possible reports whether two values of host[:port] share an address and a port,
// or one of them cannot be resolved. A port that is left out may be 80 or 443.
func (s sameRegistry) possible(ctx context.Context, a, b string) bool {
	hostA, portA := hostAndPort(a)
	hostB, portB := hostAndPort(b)
	if !slices.ContainsFunc(portA, func(port string) bool { return slices.Contains(portB, port) }) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, resolvePatience)
	defer cancel()
	addressesA, errA := s.addresses(ctx, hostA)
	addressesB, errB := s.addresses(ctx, hostB)
	return errA != nil || errB != nil ||
		slices.ContainsFunc(addressesA, func(address netip.Addr) bool { return slices.Contains(addressesB, address) })
}

func hostAndPort(s string) (host string, ports []string) {
	if host, port, err := net.SplitHostPort(s); err == nil {
		return host, []string{strings.TrimLeft(port, "0")}
	}
	return s, []string{"80", "443"}
}

func (s sameRegistry) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(trimBrackets(host)); err == nil {
		return []netip.Addr{address.Unmap()}, nil
	}
	resolve := s.resolve
	if resolve == nil {
		resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	found, err := resolve(ctx, host)
	var addresses []netip.Addr
	for _, address := range found {
		addresses = append(addresses, address.Unmap())
	}
	return addresses, err
}

func trimBrackets(host string) string {
	if n := len(host); n > 1 && host[0] == '[' && host[n-1] == ']' {
		return host[1 : n-1]
	}
	return host
}
