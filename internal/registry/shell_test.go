package registry_test

import (
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestShellWord(t *testing.T) {
	for text, want := range map[string]string{
		"registry.example.com:5000":   "registry.example.com:5000",
		"docker-credential-ecr-login": "docker-credential-ecr-login",
		"https://index.docker.io/v1/": "https://index.docker.io/v1/",
		"[::1]:5000":                  "'[::1]:5000'",
		"":                            "''",
		"a b":                         "'a b'",
		"a\nb":                        "'a b'",
		"a;b":                         "'a;b'",
		"$(a)`b`":                     "'$(a)`b`'",
		"it's":                        `'it'\''s'`,
		"~/x":                         "'~/x'",
	} {
		if got := registry.ShellWord(text); got != want {
			t.Errorf("ShellWord(%q) = %s, want %s", text, got, want)
		}
	}
	_, err := registry.ParseReference("docker-archive:$(touch x).tar")
	assertError(t, err, registry.ErrInvalidReference, "skopeo copy 'docker-archive:$(touch x).tar' oci:./image:TAG")
}
