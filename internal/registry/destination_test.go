package registry_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestParseDestination_Valid(t *testing.T) {
	for s, want := range map[string]string{
		"ghcr.io/acme/app:1":     "ghcr.io/acme/app:1",
		"GHCR.io/acme/app:1":     "ghcr.io/acme/app:1",
		"localhost/app:1":        "localhost/app:1",
		"registry:5000/app:1":    "registry:5000/app:1",
		"docker.io/alpine:3":     "docker.io/library/alpine:3",
		"registry:5000/a/b:v1.2": "registry:5000/a/b:v1.2",
	} {
		if ref, err := registry.ParseDestination(s); err != nil || ref.String() != want {
			t.Errorf("ParseDestination(%q) = %s, %v; want %s", s, ref, err, want)
		}
	}
}

func TestParseDestination_Invalid(t *testing.T) {
	for s, want := range map[string]string{
		"app":                               `it names no registry; if Docker Hub is meant, write "docker.io/library/app:latest"`,
		"app:1":                             `it names no registry; if Docker Hub is meant, write "docker.io/library/app:1"`,
		"acme/app:1":                        `it names no registry; if Docker Hub is meant, write "docker.io/acme/app:1"`,
		"ghcr.io/acme/app":                  "it has no tag",
		"ghcr.io/app@" + sum256.String():    "it has a digest",
		"ghcr.io/app:1@" + sum256.String():  "it has a digest",
		"ghcr.io/UPPER:1":                   "not in lower case",
		"https://ghcr.io/app:1":             "scheme",
		"user:password@registry.test/app:1": "credentials do not belong in a reference",
	} {
		_, err := registry.ParseDestination(s)
		e, ok := errors.AsType[*registry.Error](err)
		if !ok || !errors.Is(err, registry.ErrInvalidReference) || !strings.Contains(e.Message, want) {
			t.Errorf("ParseDestination(%q) error = %v, want %q", s, err, want)
		}
	}
}
