package remote

import "net/netip"

// addrScope classifies an address as public, private, loopback or forbidden.
type addrScope int

const (
	public addrScope = iota
	private
	loopback
	// forbidden marks addresses that a registry must never direct the client to: link-local
	// addresses, cloud metadata services, and unspecified, multicast and reserved
	// addresses.
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
		"2001::/32",          // Teredo, which embeds an IPv4 address in obfuscated form
		"64:ff9b:1::/48",     // local-use NAT64 (RFC 8215), which embeds an IPv4 address at an unknown position
	)
	privateRanges = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15", "fc00::/7")
	// embedding maps IPv6 ranges that embed an IPv4 address to the byte offset of that
	// address.
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

// classifyAddr returns the scope of a. An IPv6 address that embeds an IPv4 address has the
// scope of the embedded address.
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
