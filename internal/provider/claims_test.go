package provider

import (
	"context"
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
	claim := func(c *claimed, d digest.Digest, tags ...string) (removed bool) {
		removed, err := c.claim(t.Context(), d, tags...)
		if err != nil {
			t.Fatal(err)
		}
		return removed
	}
	claim(app, one, "1", "stable")
	claim(app, two, "stable")
	claim(all.of("registry.test/other"), one, "other")

	ended, end := context.WithCancel(t.Context())
	end()
	err := all.of("registry.test/app").remove(t.Context(), []string{"1"}, func(claimed map[string]digest.Digest) {
		if want := map[string]digest.Digest{"1": one, "stable": two}; !maps.Equal(claimed, want) {
			t.Errorf("claimed: %v, want %v", claimed, want)
		}
		// Whoever claims now would look at the registry before the tags are gone,
		// and another removal would see tags that are about to go.
		if _, err := app.claim(ended, one, "2"); !errors.Is(err, context.Canceled) {
			t.Errorf("a claim does not wait for a removal: %v", err)
		}
		if err := app.remove(ended, nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("a removal does not wait for another one: %v", err)
		}
	})
	if err != nil {
		t.Error(err)
	}
	if !claim(app, one, "3", "1") || claim(app, one, "3") || claim(all.of("registry.test/other"), one, "1") {
		t.Error("what was removed is not known as such, or what was not is")
	}
}

func TestWhatOneResourceRemovesAnotherMustNotHaveInPlace(t *testing.T) {
	t.Parallel()
	one, two := digest.FromString("one"), digest.FromString("two")
	for name, test := range map[string]struct {
		declared declaration
		leaves   map[string]digest.Digest
		refused  bool
	}{
		"in place":                      {declaration{digest: one, idle: true}, map[string]digest.Digest{"1": one}, true},
		"about to be put there":         {declaration{digest: one}, map[string]digest.Digest{"1": one}, false},
		"something else was put there":  {declaration{digest: one, idle: true}, map[string]digest.Digest{"1": two}, false},
		"another tag of the same image": {declaration{digest: one, idle: true}, map[string]digest.Digest{"2": one}, false},
	} {
		var before, after claimed
		for _, c := range []*claimed{&before, &after} {
			c.declared, c.leaving = map[string]declaration{}, map[string]digest.Digest{}
		}
		for order, err := range map[string]error{
			"declared first": errors.Join(before.declare(test.declared, "1"), before.leave(test.leaves)),
			"removed first":  errors.Join(after.leave(test.leaves), after.declare(test.declared, "1")),
		} {
			if errors.Is(err, registry.ErrTagHeld) != test.refused {
				t.Errorf("%s, %s: %v, want it to be refused: %t", name, order, err, test.refused)
			}
		}
	}
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

func TestExpected(t *testing.T) {
	t.Parallel()
	one, two := digest.FromString("one"), digest.FromString("two")
	reference := func(s string) registry.Reference {
		ref, err := registry.ParseReference(s)
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	var all claims
	app := all.of("registry.test/app")
	for _, d := range []struct {
		declaration
		tags []string
	}{
		{declaration{destination: reference("registry.test/app:1"), digest: one}, []string{"1", "stable"}},
		{declaration{destination: reference("registry.test/app:2"), digest: one, mediaType: "index"}, []string{"2"}},
	} {
		if err := app.declare(d.declaration, d.tags...); err != nil {
			t.Fatal(err)
		}
	}
	const own = "registry.test/app:1"
	for _, test := range []struct {
		source, own string
		want        digest.Digest
		mediaType   string
	}{
		{"registry.test/app:stable", "elsewhere.test/app:1", one, ""},
		{"registry.test/app:2", "elsewhere.test/app:1", one, "index"},
		{"registry.test/app:3", "elsewhere.test/app:1", "", ""},
		{"registry.test/app@" + one.String(), "elsewhere.test/app:1", one, "index"},
		{"registry.test/app:stable@" + two.String(), "elsewhere.test/app:1", "", ""},
		{"registry.test/app:3@" + one.String(), "elsewhere.test/app:1", one, "index"},
		{"registry.test/app:stable", own, "", ""},
		{"registry.test/app@" + one.String(), "registry.test/app:2", one, ""},
	} {
		got, is := app.expected(reference(test.source), reference(test.own))
		if got.digest != test.want || got.mediaType != test.mediaType || is != (test.want != "") {
			t.Errorf("%s to %s: %+v, %t", test.source, test.own, got, is)
		}
	}
	if got, is := all.of("registry.test/other").expected(reference("registry.test/other:1"), reference(own)); is {
		t.Errorf("another repository: %+v", got)
	}
}
