package provider

import "testing"

func TestSamePlatform(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		same bool
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
	} {
		a, errA := parsePlatform(test.a)
		b, errB := parsePlatform(test.b)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if same := samePlatform(a, b); same != test.same || samePlatform(b, a) != same {
			t.Errorf("%s and %s: %v, want %v", test.a, test.b, same, test.same)
		}
	}
}

func TestParsePlatformRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/amd 64", "linux//v7"} {
		if p, err := parsePlatform(s); err == nil {
			t.Errorf("%q was read as %+v", s, p)
		}
	}
}
