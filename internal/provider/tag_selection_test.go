package provider

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-version"
)

func mustConstraint(t *testing.T, s string) version.Constraints {
	t.Helper()
	c, err := version.NewConstraint(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTagSelection_Apply(t *testing.T) {
	t.Parallel()
	re := regexp.MustCompile
	for name, test := range map[string]struct {
		selection tagSelection
		tags      string
		want      string
	}{
		"versions_before_other_tags": {
			tagSelection{}, "latest 1.9 1.10 1.2.3 main v2 0.9", "v2 1.10 1.9 1.2.3 0.9 main latest",
		},
		"release_before_prerelease": {
			tagSelection{}, "1.0.0-rc.10 1.0.0-rc.9 1.0.0 0.9.9 1.0.0-alpine", "1.0.0 1.0.0-rc.10 1.0.0-rc.9 1.0.0-alpine 0.9.9",
		},
		"longer_tag_first": {
			tagSelection{}, "1 1.0 v1.0.0 1.0.0", "v1.0.0 1.0.0 1.0 1",
		},
		"four_parts": {
			tagSelection{}, "1.2.3 1.2.3.1 1.2.3.10 1.2.3.9", "1.2.3.10 1.2.3.9 1.2.3.1 1.2.3",
		},
		"lexical_order": {
			tagSelection{order: orderLexical}, "1.9 1.10 2026-03-01 2026-02-28 main", "main 2026-03-01 2026-02-28 1.9 1.10",
		},
		"include_unanchored": {
			tagSelection{include: re(`\.1`)}, "1.1 1.2 2.10 3", "2.10 1.1",
		},
		"include_anchored": {
			tagSelection{include: re(`^\d+\.\d+$`)}, "1.1 1.1.1 v1.1 1.1-rc1", "1.1",
		},
		"exclude": {
			tagSelection{exclude: re(`-`)}, "1.1 1.1-rc1 1.0", "1.1 1.0",
		},
		"exclude_before_include": {
			tagSelection{include: re(`rc`), exclude: re(`rc2`)}, "1-rc1 1-rc2", "1-rc1",
		},
		"constraint": {
			tagSelection{constraint: mustConstraint(t, "~> 1.4")}, "1.3 1.4 v1.4.2 1.10 2.0 latest", "1.10 v1.4.2 1.4",
		},
		"constraint_with_two_parts": {
			tagSelection{constraint: mustConstraint(t, ">= 1.4, < 2.0")}, "1.3 1.4 1.9.9 2.0 2.1", "1.9.9 1.4",
		},
		"constraint_without_prerelease": {
			tagSelection{constraint: mustConstraint(t, ">= 0")}, "1.0 1.1-rc1 1.0-alpine", "1.0",
		},
		"constraint_with_prerelease": {
			tagSelection{constraint: mustConstraint(t, ">= 1.1-rc1")}, "1.0 1.1-beta 1.1-rc1 1.1-rc2 1.2-rc1 1.2", "1.2 1.1-rc2 1.1-rc1",
		},
		"version_group": {
			tagSelection{include: re(`^(?P<version>[\d.]+)-alpine$`), constraint: mustConstraint(t, "~> 1.27")},
			"1.27.9-alpine 1.27.10-alpine 1.26.1-alpine 1.27.11 1.28.0-alpine-slim", "1.27.10-alpine 1.27.9-alpine",
		},
		"empty_version_group": {
			tagSelection{include: re(`^app(-(?P<version>\d+))?$`)}, "app app-1 app-2", "app-2 app-1 app",
		},
		"version_overflow": {
			tagSelection{constraint: mustConstraint(t, ">= 0")}, "1 99999999999999999999", "1",
		},
		"limit": {
			tagSelection{limit: 2}, "1 2 3", "3 2",
		},
		"limit_above_count": {
			tagSelection{limit: 20}, "1 2 3", "3 2 1",
		},
		"duplicate_tag": {
			tagSelection{limit: 2}, "1 2 2", "2 1",
		},
		"referrer_tags": {
			tagSelection{order: orderLexical},
			"1 sha256-" + strings.Repeat("a", 64) + " sha256-" + strings.Repeat("a", 64) + ".sig sha512-" + strings.Repeat("0", 64) + ".att sha256-abc", "sha256-abc 1",
		},
		"no_tags": {tagSelection{}, "", ""},
	} {
		tags, want := strings.Fields(test.tags), strings.Fields(test.want)
		if got := test.selection.apply(tags); got == nil || !slices.Equal(got, want) {
			t.Errorf("%s: apply() = %q, want %q", name, got, want)
		}
	}
}

// TestTagSelection_ApplyIgnoresInputOrder checks versions that go-version compares
// inconsistently, depending on the order of the operands.
func TestTagSelection_ApplyIgnoresInputOrder(t *testing.T) {
	t.Parallel()
	tags := strings.Fields("1.0.0-beta 1.0.0 1.0.0.0 1.0-01 1.0-1 1.0-0 1 v1 v1.0 2.0 2.0.0-1.a 2.0.0-1 latest main 0.9")
	want := tagSelection{}.apply(tags)
	for range 100 {
		rand.Shuffle(len(tags), func(i, j int) { tags[i], tags[j] = tags[j], tags[i] })
		if got := (tagSelection{}).apply(tags); !slices.Equal(got, want) {
			t.Fatalf("%q gives %q, and before %q", tags, got, want)
		}
	}
	if want[0] != "2.0" || want[len(want)-1] != "latest" {
		t.Errorf("the list is %q", want)
	}
}
