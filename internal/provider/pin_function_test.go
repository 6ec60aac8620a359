package provider_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestPinFunction(t *testing.T) {
	t.Parallel()
	ones, twos := "sha256:"+strings.Repeat("1", 64), "sha256:"+strings.Repeat("2", 64)
	ws := newWorkspace(t)
	blocks, want := []string{}, map[string]string{}
	for i, test := range []struct{ reference, pinned string }{
		{"alpine", "docker.io/library/alpine"},
		{"alpine:3", "docker.io/library/alpine"},
		{"GHCR.IO/acme/app:1.4", "ghcr.io/acme/app"},
		{"localhost:5000/app@" + ones, "localhost:5000/app"},
		{"localhost:5000/app:1@" + ones, "localhost:5000/app"},
	} {
		name := fmt.Sprintf("p%d", i)
		want[name] = test.pinned + "@" + ones
		blocks = append(blocks, output(name, fmt.Sprintf("provider::registry::pin(%q, %q)", test.reference, ones)))
	}
	result := ws.converge(blocks...)
	for name, pinned := range want {
		if got := result.outputs[name]; got != pinned {
			t.Errorf("pin() = %v, want %s", got, pinned)
		}
	}

	for _, test := range []struct {
		reference, digest string
		contains          []string
	}{
		{"app@" + ones, twos, []string{twos + " is not the digest", "which is " + ones, "Take one of them away"}},
		{"app", "1.4", []string{`"1.4" cannot be read as a digest`, "names no algorithm", "64 hexadecimal digits"}},
		{"app", ones[:20], []string{"cannot be read as a digest", "sha256 has 64 hexadecimal digits"}},
		{"app", ones + "\n", []string{"cannot be read as a digest", "white space around it", "trimspace"}},
		{"app", "", []string{`"" cannot be read as a digest`, "it is empty"}},
		{"https://ghcr.io/acme/app", ones, []string{"https://ghcr.io/acme/app", "scheme"}},
		{"oci:./air:v1", ones, []string{"it names an image layout on this machine, and here it has to be in a registry"}},
		{"ghcr.io/acme/app:", ones, []string{"a colon and no tag after it"}},
	} {
		ws.configure(output("bad", fmt.Sprintf(`provider::registry::pin(%q, %q)`, test.reference, test.digest)))
		if d := ws.planFails().wantError(test.contains...); strings.Contains(d.Detail, "..") {
			t.Errorf("two periods: %s", d.Detail)
		}
	}
}
