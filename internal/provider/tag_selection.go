package provider

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/go-version"
)

// The supported orders of tags. Each of them sorts by name and puts the newest tag first:
// registries do not report when a tag was pushed.
const (
	orderVersion = "version"
	orderLexical = "lexical"
)

// tagSelection filters and sorts the tags of a repository. Nil and zero fields do not filter.
type tagSelection struct {
	include, exclude *regexp.Regexp
	constraint       version.Constraints
	order            string
	limit            int
}

// versionGroup is the name of the group in include that matches the version within a tag.
const versionGroup = "version"

// referrerTagPattern matches tags that tools derive from a digest for signatures, attestations,
// SBOMs and lists of referrers (OCI distribution specification, "Referrers Tag Schema"). Users
// do not choose images by these tags.
var referrerTagPattern = regexp.MustCompile(`^sha(256|384|512)-[0-9a-f]{64,}(\..+)?$`)

// candidate is a tag with its version, which is nil if the tag is not a version.
type candidate struct {
	tag     string
	version *version.Version
}

// apply returns the selected tags, the newest first. The result does not depend on the order of
// tags or on duplicates.
func (s tagSelection) apply(tags []string) []string {
	var candidates []candidate
	// Sort first, because compare is not symmetric for some unusual versions.
	for _, tag := range slices.Compact(slices.Sorted(slices.Values(tags))) {
		if c, ok := s.candidate(tag); ok {
			candidates = append(candidates, c)
		}
	}
	slices.SortStableFunc(candidates, s.compare)
	if s.limit > 0 {
		candidates = candidates[:min(len(candidates), s.limit)]
	}
	selected := []string{}
	for _, c := range candidates {
		selected = append(selected, c.tag)
	}
	return selected
}

// candidate parses a tag, and reports whether it is selected.
func (s tagSelection) candidate(tag string) (candidate, bool) {
	if referrerTagPattern.MatchString(tag) || s.exclude != nil && s.exclude.MatchString(tag) {
		return candidate{}, false
	}
	named := tag
	if s.include != nil {
		match := s.include.FindStringSubmatch(tag)
		if match == nil {
			return candidate{}, false
		}
		if group := s.include.SubexpIndex(versionGroup); group >= 0 {
			named = match[group]
		}
	}
	c := candidate{tag: tag}
	if v, err := version.NewVersion(named); err == nil {
		c.version = v
	}
	return c, s.constraint == nil || c.version != nil && s.constraint.Check(c.version)
}

// compare orders newer tags first. Of two tags for the same version the longer one comes first,
// because it is more specific: 1.4 moves when 1.4.1 is released, and 1.4.0 does not.
func (s tagSelection) compare(a, b candidate) int {
	if s.order != orderLexical {
		switch {
		case a.version != nil && b.version != nil:
			if order := cmp.Or(b.version.Compare(a.version), cmp.Compare(len(b.tag), len(a.tag))); order != 0 {
				return order
			}
		case a.version != nil:
			return -1
		case b.version != nil:
			return 1
		}
	}
	return strings.Compare(b.tag, a.tag)
}
