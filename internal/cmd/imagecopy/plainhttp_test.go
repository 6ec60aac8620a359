package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// A copy may need plain HTTP on one side and TLS on the other.
func TestPlainHTTP_Hosts(t *testing.T) {
	plain, secured := registrytest.V3(t), registrytest.V3(t, registrytest.TLS())
	pushed := plain.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	authority := writeFile(t, "ca.pem", string(secured.CA))
	for i, flags := range [][]string{
		{"-plain-http=" + plain.Addr},
		{"-plain-http=registry.example.com," + plain.Addr},
		{"-plain-http=" + plain.Addr, "-plain-http=registry.example.com"},
		{"-plain-http", "-plain-http=" + plain.Addr},
	} {
		destination := secured.Ref(fmt.Sprintf("prod%d", i), "1")
		runImagecopy(t, slices.Concat(flags, []string{"-q", "-ca", authority, pushed.Ref, destination})...).expect(t, succeeded, "")
	}
	for hosts, want := range map[string]map[string]bool{
		"Registry:5000,localhost": {"registry:5000": true, "localhost": true, "localhost:5000": false, "registry": false, "127.0.0.1:5000": false},
		"docker.io,[::1]:5000":    {"docker.io": true, "[::1]:5000": true},
		"b.c,[0::1]:080":          {"b.c": true, "b.c:80": true, "b.c:443": false, "[::1]:80": true, "[::1]": false},
		"true":                    {"ghcr.io": true},
		"0":                       {"localhost": false},
	} {
		o := mustParse(t, "-plain-http="+hosts, "alpine", "b.c/d:1")
		for host, plain := range want {
			if got := o.plainHTTP.forHost(host); got == nil || *got != plain {
				t.Errorf("-plain-http=%s for %s = %v, want %t", hosts, host, got, plain)
			}
		}
	}
	if o := mustParse(t, "alpine", "b.c/d:1"); o.plainHTTP.forHost("localhost") != nil {
		t.Errorf("without the flag, plain HTTP = %s, want the engine's default", &o.plainHTTP)
	}
	for want, flags := range map[string][]string{
		"true":  {"-plain-http=b.c", "-plain-http"},
		"false": {"-plain-http=b.c", "-plain-http=false"},
		"b.c":   {"-plain-http=false", "-plain-http=B.C"},
	} {
		o := mustParse(t, append(flags, "alpine", "b.c/d:1")...)
		if got := o.plainHTTP.String(); got != want {
			t.Errorf("String() of %q = %s, want %s", flags, got, want)
		}
		if got := o.plainHTTP.forHost("b.c"); got == nil || *got != (want != "false") {
			t.Errorf("plain HTTP of b.c with %q = %v", flags, got)
		}
	}
}
