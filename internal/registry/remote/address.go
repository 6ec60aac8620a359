package remote

import "net/netip"

// addrScope is how far an address is from this machine.
type addrScope int

const (
	public addrScope = iota
	private
	loopback
	// forbidden addresses are never gone to because a registry said so: they
	// are this machine's own link, its cloud's metadata services, and no
	// address of anybody.
	forbidden
)

func (r addrScope) String() string {
	return [...]string{"public", "private", "loopback", "link-local or metadata"}[r]
}

var (
	forbiddenRanges = prefixes(
		"0.0.0.0/8", "169.254.0.0/16", "240.0.0.0/4", "fe80::/10", "fec0::/10", "::/128",
		"168.63.129.16/32",   // Azure
		"100.100.100.200/32", // Alibaba Cloud
		"192.0.0.192/32",     // Oracle Cloud
		"fd00:ec2::/32",      // Amazon EC2
		"fd20:ce::254/128",   // Google Cloud
		"2001::/32",          // Teredo, which hides an IPv4 address
		"64:ff9b:1::/48",     // NAT64 of somebody's own, which hides one where only they know
	)
	privateRanges = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15", "fc00::/7")
	// Ranges of IPv6 that carry an IPv4 address, and at which byte.
	embedding = map[netip.Prefix]int{
		netip.MustParsePrefix("64:ff9b::/96"):    12, // NAT64, RFC 6052
		netip.MustParsePrefix("2002::/16"):       2,  // 6to4, RFC 3056
		netip.MustParsePrefix("::/96"):           12, // IPv4-compatible, RFC 4291
		netip.MustParsePrefix("::ffff:0:0:0/96"): 12, // IPv4-translated, RFC 2765
	}
)

func prefixes(texts ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, text := range texts {
		ps = append(ps, netip.MustParsePrefix(text))
	}
	return ps
}

// classifyAddr classifies an address, looking through the forms in which IPv6 can
// hide one of IPv4.
func classifyAddr(a netip.Addr) addrScope {
	a = a.Unmap().WithZone("")
	for _, p := range forbiddenRanges {
		if p.Contains(a) {
			return forbidden
		}
	}
	if a.IsLoopback() {
		return loopback
	}
	if a.IsMulticast() {
		return forbidden
	}
	for _, p := range privateRanges {
		if p.Contains(a) {
			return private
		}
	}
	for p, at := range embedding {
		if p.Contains(a) {
			b := a.As16()
			return classifyAddr(netip.AddrFrom4([4]byte(b[at : at+4])))
		}
	}
	return public
}
