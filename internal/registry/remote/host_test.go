package remote

import (
	"testing"
)

func TestHostScope(t *testing.T) {
	for _, test := range []struct {
		seen []addrScope
		want addrScope
	}{
		{nil, public},
		{[]addrScope{private}, private},
		{[]addrScope{loopback}, loopback},
		{[]addrScope{public, private}, public},
		{[]addrScope{private, public}, public},
		{[]addrScope{loopback, private}, private},
		{[]addrScope{private, loopback, private}, private},
		{[]addrScope{forbidden}, public},
		{[]addrScope{forbidden, private}, private},
		{[]addrScope{private, forbidden}, private},
	} {
		var s hostScope
		for _, r := range test.seen {
			s.add(r)
		}
		if got := s.addrScope(); got != test.want {
			t.Errorf("reach() after %v = %v, want %v", test.seen, got, test.want)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "127.9.9.9": true, "[::1]": true, "[::1]:5000": true,
		"localhost.example:5000": false, "10.0.0.1:5000": false, "[fd00::1]:5000": false, "docker.io": false, "": false,
	} {
		if got := IsLoopback(host); got != want {
			t.Errorf("IsLoopback(%q) = %t, want %t", host, got, want)
		}
	}
}
