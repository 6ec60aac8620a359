package remote_test

import (
	"net/netip"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

func TestClassifyAddr(t *testing.T) {
	for scope, addresses := range map[string][]string{
		"public": {"203.0.113.1", "8.8.8.8", "2606:4700::1", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8"},
		"private": {"10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "198.18.0.1", "fd12:3456::1",
			"::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "::ffff:0:a00:1"},
		"loopback": {"127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"},
		"link-local or metadata": {"169.254.169.254", "169.254.170.2", "::ffff:a9fe:a9fe", "fd00:ec2::254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::",
			"::ffff:0:a9fe:a9fe", "::169.254.169.254", "0.0.0.0", "0.1.2.3", "::", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd20:ce::254",
			"fe80::1", "fe80::1%eth0", "fec0::1", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1", "2001:0:4136:e378::1", "64:ff9b:1::a9fe:a9fe"},
	} {
		for _, address := range addresses {
			if got := remote.AddrScope(netip.MustParseAddr(address)); got != scope {
				t.Errorf("classifyAddr(%s) = %s, want %s", address, got, scope)
			}
		}
	}
}
