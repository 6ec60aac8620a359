package provider

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// ownersOf returns the owners in a repository.
func ownersOf(t *testing.T, all *tagOwners, name string) *repoOwners {
	t.Helper()
	destination, problem := parseDestination(name + ":1")
	if problem != "" {
		t.Fatal(problem)
	}
	return all.forRepository(t.Context(), destination)
}

func TestTagOwners_OwnAndRemove(t *testing.T) {
	t.Parallel()
	var all tagOwners
	app := ownersOf(t, &all, "registry.test/app")
	one, two := digest.FromString("one"), digest.FromString("two")
	put := func(c *repoOwners, d digest.Digest, tags ...string) (removed bool) {
		removed, err := c.own(t.Context(), tagTarget{digest: d}, tags...)
		if err != nil {
			t.Fatal(err)
		}
		return removed
	}
	put(app, one, "1", "stable")
	put(app, two, "stable")
	put(ownersOf(t, &all, "registry.test/other"), one, "other")

	ended, end := context.WithCancel(t.Context())
	end()
	err := ownersOf(t, &all, "registry.test/app").remove(t.Context(), map[string]digest.Digest{"1": one, "old": one}, func(others protectedTags) {
		if want := map[string]tagTarget{"1": {digest: one}, "stable": {digest: two}}; !maps.Equal(others.tags, want) {
			t.Errorf("remove() tags = %v, want %v", others.tags, want)
		}
		// Taking ownership now would let a resource resolve the tags before they are removed. A
		// concurrent removal would see tags that are about to be removed.
		if _, err := app.own(ended, tagTarget{digest: one}, "2"); !errors.Is(err, context.Canceled) {
			t.Errorf("own() during a removal error = %v, want context.Canceled", err)
		}
		if err := app.remove(ended, nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("remove() during a removal error = %v, want context.Canceled", err)
		}
	})
	if err != nil {
		t.Error(err)
	}
	if !put(app, one, "3", "old") || put(app, one, "3", "1") || put(ownersOf(t, &all, "registry.test/other"), one, "old") {
		t.Error("own() does not report exactly the removed tags")
	}
}

func TestTagOwners_PlanRemoval(t *testing.T) {
	t.Parallel()
	one, two := digest.FromString("one"), digest.FromString("two")
	inPlace, pendingWrite := declaration{digest: one, unchanged: true}, declaration{digest: one}
	for name, test := range map[string]struct {
		declared declaration
		put      digest.Digest
		binding  bool
		first    string // result if the declaration comes first
		last     string // result if the declaration comes last
	}{
		"in_place_and_destroyed":     {inPlace, one, false, "spared", "disturbed"},
		"in_place_and_dropped":       {inPlace, one, true, "refused", "refused"},
		"planned_and_destroyed":      {pendingWrite, one, false, "spared", ""},
		"planned_and_dropped":        {pendingWrite, one, true, "", ""},
		"in_place_with_other_digest": {inPlace, two, false, "", ""},
	} {
		for order, want := range map[string]string{"first": test.first, "last": test.last} {
			var all tagOwners
			repository := ownersOf(t, &all, "registry.test/app")
			put := map[string]digest.Digest{"1": test.put, "else": two}
			if order == "last" {
				if _, err := repository.planRemoval(put, test.binding); err != nil {
					t.Fatal(err)
				}
			}
			affected, err := repository.plan(test.declared, "1")
			var spared []string
			if order == "first" {
				spared, err = repository.planRemoval(put, test.binding)
			}
			got := ""
			switch {
			case errors.Is(err, registry.ErrTagHeld):
				got = "refused"
			case affected:
				got = "disturbed"
			case slices.Equal(spared, []string{"1"}):
				got = "spared"
			}
			if got != want {
				t.Errorf("%s, declared %s: %q, want %q", name, order, got, want)
			}
		}
	}
}

// TestTagOwners_PlanAfterRemoval checks that plan reports tags that were removed earlier in the
// apply, and that declared tags are not removed.
func TestTagOwners_PlanAfterRemoval(t *testing.T) {
	t.Parallel()
	one := digest.FromString("one")
	var all tagOwners
	repository := ownersOf(t, &all, "registry.test/app")
	if _, err := repository.plan(declaration{digest: one}, "declared"); err != nil {
		t.Fatal(err)
	}
	err := repository.remove(t.Context(), map[string]digest.Digest{"declared": one, "1": one}, func(others protectedTags) {
		if want := map[string]tagTarget{"declared": {digest: one}}; !maps.Equal(others.tags, want) {
			t.Errorf("remove() tags = %v, want %v", others.tags, want)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]bool{"1": true, "declared": false, "another": false} {
		if affected, err := repository.plan(declaration{digest: one, unchanged: true}, tag); affected != want || err != nil {
			t.Errorf("plan(%s) = %t, %v, want %t", tag, affected, err, want)
		}
	}
}

func TestTagOwners_PlanConflict(t *testing.T) {
	t.Parallel()
	one, two := digest.FromString("one"), digest.FromString("two")
	declared := func(source, destination string, d digest.Digest) declaration {
		from, err := imageref.ParseSource(source)
		to, problem := parseDestination(destination)
		if err != nil || problem != "" {
			t.Fatal(err, problem)
		}
		return declaration{source: from, destination: to, digest: d}
	}
	first := declared("ghcr.io/acme/app:1", "registry.test/app:1", one)
	some := declared("ghcr.io/acme/app:1", "registry.test/app:1", two)
	some.platforms = []string{"linux/amd64"}
	for name, test := range map[string]struct {
		then    declaration
		refused bool
	}{
		"other_source":               {declared("ghcr.io/acme/app:2", "registry.test/app:1", two), true},
		"other_destination":          {declared("ghcr.io/acme/app:1", "registry.test/app:2", two), true},
		"other_resource_same_digest": {declared("ghcr.io/acme/app:2", "registry.test/app:2", one), false},
		"other_resource_sha512":      {declared("ghcr.io/acme/app:2", "registry.test/app:2", digest.SHA512.FromString("one")), false},
		"same_resource_replanned":    {declared("ghcr.io/acme/app:1", "registry.test/app:1", two), false},
		"other_platforms":            {some, true},
	} {
		var all tagOwners
		repository := ownersOf(t, &all, "registry.test/app")
		if _, err := repository.plan(first, "1", "stable"); err != nil {
			t.Fatal(err)
		}
		_, err := repository.plan(test.then, "other", "stable")
		if (err != nil) != test.refused || test.refused && !errors.Is(err, registry.ErrTagHeld) {
			t.Errorf("%s: plan() error = %v, want one: %t", name, err, test.refused)
		}
		if _, recorded := repository.declared["other"]; recorded == test.refused {
			t.Errorf("%s: recorded: %t", name, recorded)
		}
		// Another repository is not affected.
		if _, err := ownersOf(t, &all, "registry.test/other").plan(test.then, "stable"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTagOwners_Expected(t *testing.T) {
	t.Parallel()
	one, two := digest.FromString("one"), digest.FromString("two")
	reference := func(s string) imageref.Ref {
		p, err := imageref.ParseSource(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var all tagOwners
	app := ownersOf(t, &all, "registry.test/app")
	for _, d := range []struct {
		declaration
		tags []string
	}{
		{declaration{destination: reference("registry.test/app:1"), digest: one}, []string{"1", "stable"}},
		{declaration{destination: reference("registry.test/app:2"), digest: one, mediaType: "index"}, []string{"2"}},
	} {
		if _, err := app.plan(d.declaration, d.tags...); err != nil {
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
	if got, is := ownersOf(t, &all, "registry.test/other").expected(reference("registry.test/other:1"), reference(own)); is {
		t.Errorf("another repository: %+v", got)
	}
}

// TestTagOwners_ConcurrentRemovalAndPlan checks that of a concurrent removal and plan, at least
// one sees the other.
func TestTagOwners_ConcurrentRemovalAndPlan(t *testing.T) {
	t.Parallel()
	d := digest.FromString("x")
	for range 60_000 {
		var all tagOwners
		app := ownersOf(t, &all, "registry.test/app")
		var both sync.WaitGroup
		var spared, affected bool
		start := make(chan struct{})
		both.Go(func() {
			<-start
			if err := app.remove(t.Context(), map[string]digest.Digest{"stable": d}, func(other protectedTags) { spared = other.contains("stable") }); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			<-start
			var err error
			if affected, err = app.plan(declaration{digest: d, unchanged: true}, "stable"); err != nil {
				t.Error(err)
			}
		})
		close(start)
		both.Wait()
		if !spared && !affected {
			t.Fatal("neither the removal nor the plan sees the other")
		}
	}
}

// existingTag is a read-only repository in which all tags point to one digest.
type existingTag struct {
	registry.Repository
	digest digest.Digest
}

func (r existingTag) Resolve(context.Context, string) (registry.Descriptor, error) {
	return registry.Descriptor{Digest: r.digest}, nil
}

func TestRestore_ExistingTag(t *testing.T) {
	t.Parallel()
	var all tagOwners
	theirs := digest.FromString("theirs")
	m, wrote, err := ownersOf(t, &all, "registry.test/app").restore(t.Context(), existingTag{digest: theirs}, "1", digest.FromString("ours"))
	if err != nil || wrote || m.Digest != theirs {
		t.Errorf("restore() = %s, %t, %v, want the digest that the tag holds and no write", m.Digest, wrote, err)
	}
}
