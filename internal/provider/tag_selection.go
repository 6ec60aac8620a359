package provider

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/go-version"
)

// The orders in which tags can be wanted. In each the first tag is the newest as
// far as names can tell: no registry says when a tag was put.
const (
	orderVersion = "version"
	orderLexical = "lexical"
)

// tagSelection says which tags of a repository are wanted, and in which order.
// Nil and zero fields want everything.
type tagSelection struct {
	include, exclude *regexp.Regexp
	constraint       version.Constraints
	order            string
	limit            int
}

// versionGroup is the name of a group in include whose match is the version in a
// tag that has something else around it.
const versionGroup = "version"

// attached are tags that tools put beside the image with the digest that they
// are named after: signatures, attestations, SBOMs, and the list of referrers of
// a registry without an API for that (OCI distribution specification, "Referrers
// Tag Schema"). They name no image that anybody chooses by its tag.
var attached = regexp.MustCompile(`^sha(256|384|512)-[0-9a-f]{64,}(\..+)?$`)

// candidate is a tag and the version that it names, nil where it names none.
type candidate struct {
	tag     string
	version *version.Version
}

// of is what is wanted of tags, the newest first. The same tags, in any order
// and however often, always give the same list.
func (s tagSelection) of(tags []string) []string {
	var candidates []candidate
	// In one order to begin with: what compare says of some odd versions depends
	// on which of two is asked about the other.
	for _, tag := range slices.Compact(slices.Sorted(slices.Values(tags))) {
		if c, wanted := s.candidate(tag); wanted {
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

// candidate reads a tag, and says whether it is wanted.
func (s tagSelection) candidate(tag string) (candidate, bool) {
	if attached.MatchString(tag) || s.exclude != nil && s.exclude.MatchString(tag) {
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

// compare puts what is newer first. Of two tags for one version the longer comes
// first, because that one says more: 1.4.0 does not move when 1.4.1 comes, and
// 1.4 does.
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
