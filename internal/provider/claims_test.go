package provider

import (
	"maps"
	"testing"

	"github.com/opencontainers/go-digest"
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
		// Whoever claims now would look at the registry before the tags are gone.
		if app.removing.TryLock() {
			t.Error("a claim does not wait for a removal")
		}
	})
}
