package registry_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestParseRepository_Valid(t *testing.T) {
	for s, want := range map[string]string{
		"ghcr.io/acme/app":       "ghcr.io/acme/app",
		"GHCR.io/acme/app":       "ghcr.io/acme/app",
		"localhost:5000/app":     "localhost:5000/app",
		"alpine":                 "docker.io/library/alpine",
		"registry-1.docker.io/a": "docker.io/library/a",
	} {
		if ref, err := registry.ParseRepository(s); err != nil || ref.String() != want {
			t.Errorf("ParseRepository(%q) = %s, %v; want %s", s, ref, err, want)
		}
	}
}

func TestParseRepository_Invalid(t *testing.T) {
	for s, want := range map[string]string{
		"ghcr.io/acme/app:1":                 `it has the tag "1"`,
		"ghcr.io/app@" + sum256.String():     "it has a digest",
		"ghcr.io/app:1@" + sum256.String():   "it has a digest",
		"localhost:5000":                     "it has no repository",
		"":                                   "it is empty",
		"https://ghcr.io/acme/app":           "scheme",
		"ghcr.io/acme/app?n=1":               "which no reference has",
		"ghcr.io/acme/../app":                "cannot be a part of a repository",
		"user:password@registry.example/app": "credentials do not belong in a reference",
	} {
		_, err := registry.ParseRepository(s)
		e, ok := errors.AsType[*registry.Error](err)
		if !ok || !errors.Is(err, registry.ErrInvalidReference) || !strings.Contains(e.Message, want) || e.Hint == "" {
			t.Errorf("ParseRepository(%q) error = %v, want %q", s, err, want)
		}
	}
}
