package provider

import (
	"errors"
	"maps"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestClaims(t *testing.T) {
	t.Parallel()
	var all claims
	app := all.of("registry.test/app")
	one, two := digest.FromString("one"), digest.FromString("two")
	app.claim(one, "1", "stable")
	app.claim(two, "stable")
	all.of("registry.test/other").claim(one, "other")

	all.of("registry.test/app").remove(func(claimed map[string]digest.Digest) {
		if want := map[string]digest.Digest{"1": one, "stable": two}; !maps.Equal(claimed, want) {
			t.Errorf("claimed: %v, want %v", claimed, want)
		}
		// Whoever claims now would look at the registry before the tags are gone,
		// and another removal would see tags that are about to go.
		if app.removing.TryLock() {
			t.Error("claims and other removals do not wait for a removal")
		}
	})
}

func TestDeclarations(t *testing.T) {
	t.Parallel()
	one, two := digest.FromString("one"), digest.FromString("two")
	declared := func(source, destination string, d digest.Digest) declaration {
		from, err := registry.ParseReference(source)
		to, problem := parseDestination(destination)
		if err != nil || problem != "" {
			t.Fatal(err, problem)
		}
		return declaration{source: from, destination: to, digest: d}
	}
	first := declared("ghcr.io/acme/app:1", "registry.test/app:1", one)
	for name, test := range map[string]struct {
		then    declaration
		refused bool
	}{
		"another source":             {declared("ghcr.io/acme/app:2", "registry.test/app:1", two), true},
		"another destination":        {declared("ghcr.io/acme/app:1", "registry.test/app:2", two), true},
		"another, of the same image": {declared("ghcr.io/acme/app:2", "registry.test/app:2", one), false},
		"another, in sha512":         {declared("ghcr.io/acme/app:2", "registry.test/app:2", digest.SHA512.FromString("one")), false},
		"the same, asked again":      {declared("ghcr.io/acme/app:1", "registry.test/app:1", two), false},
	} {
		var all claims
		repository := all.of("registry.test/app")
		if err := repository.declare(first, "1", "stable"); err != nil {
			t.Fatal(err)
		}
		err := repository.declare(test.then, "other", "stable")
		if (err != nil) != test.refused || test.refused && !errors.Is(err, registry.ErrTagHeld) {
			t.Errorf("%s: %v, want it to be refused: %t", name, err, test.refused)
		}
		if _, noted := repository.declared["other"]; noted == test.refused {
			t.Errorf("%s: noted: %t", name, noted)
		}
		// Nor does it concern another repository.
		if err := all.of("registry.test/other").declare(test.then, "stable"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
