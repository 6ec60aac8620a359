package registry_test

import (
	"slices"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestSatisfies(t *testing.T) {
	for _, test := range []struct {
		is, wanted string
		want       bool
	}{
		{"linux/amd64", "linux/amd64", true},
		{"linux/arm64", "linux/arm64/v8", true},
		{"linux/arm64/8", "linux/aarch64", true},
		{"linux/arm", "linux/arm/v7", true},
		{"linux/arm/7", "linux/armhf", true},
		{"linux/armel", "linux/arm/v6", true},
		{"Linux/X86_64", "linux/amd64/v1", true},
		{"linux/i386", "linux/386", true},
		{"macos/arm64", "darwin/arm64", true},
		{"linux/arm/v6", "linux/arm/v7", false},
		{"linux/amd64", "linux/amd64/v3", false},
		{"linux/arm64", "linux/arm64/v9", false},
		{"linux/amd64", "windows/amd64", false},
		{"linux/amd64", "linux/arm64", false},
		{"windows(10.0.20348.1)/amd64", "windows/amd64", true},
		{"windows(10.0.20348.1)/amd64", "windows(10.0.20348)/amd64", true},
		{"windows(10.0.20348.1)/amd64", "windows(10.0.2034)/amd64", false},
		{"windows/amd64", "windows(10.0.20348)/amd64", false},
	} {
		p := platforms(t, test.is, test.wanted)
		if got := registry.Satisfies(p[0], p[1]); got != test.want {
			t.Errorf("Satisfies(%s, %s) = %t, want %t", test.is, test.wanted, got, test.want)
		}
	}
}

func TestParsePlatform(t *testing.T) {
	for _, s := range []string{"linux/amd64", "linux/arm/v7", "windows(10.0.20348.7)/amd64"} {
		if p := platforms(t, s)[0]; registry.FormatPlatform(p) != s {
			t.Errorf("ParsePlatform(%q) = %+v", s, p)
		}
	}
	for _, s := range []string{"", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/amd 64", "linux//v7", "windows()/amd64", "windows(10/amd64"} {
		if p, err := registry.ParsePlatform(s); err == nil {
			t.Errorf("ParsePlatform(%q) = %+v, want an error", s, p)
		}
	}
	if registry.IsPlatform(nil) || slices.ContainsFunc(platforms(t, "unknown/unknown", "linux/unknown"), func(p registry.Platform) bool { return registry.IsPlatform(&p) }) {
		t.Error("IsPlatform() of an attestation manifest = true, want false")
	}
}
