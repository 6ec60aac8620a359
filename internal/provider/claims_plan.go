package provider

import (
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// removal is the plan of a resource to remove a tag that it wrote.
type removal struct {
	digest digest.Digest
	// binding reports whether the plan cannot be changed any more if another resource
	// turns out to have the tag.
	binding bool
}

// declaration is the plan of a resource for its tags. Terraform does not tell
// the provider which resource a call is for, and plans a resource more than
// once. Two declarations with the same source, destination and platforms are
// therefore taken for one resource.
type declaration struct {
	source, destination imageref.Ref
	platforms           []string
	digest              digest.Digest
	mediaType           string // "" where it is not known
	// referrers reports whether referrers are copied too, so that a copy from
	// there will find more of them than there are now.
	referrers bool
	// idle reports whether the tags are in place, so that no change is planned
	// and no claim follows during apply.
	idle bool
}

// contradicts reports whether two resources want a tag to hold different digests.
// One resource may be planned twice, with another digest if the source has moved.
func (d declaration) contradicts(other declaration) bool {
	same := d.source.Equal(other.source) && d.destination.Equal(other.destination) && slices.Equal(d.platforms, other.platforms)
	return !same &&
		d.digest != other.digest && d.digest.Algorithm() == other.digest.Algorithm()
}

// plan records the plan of a resource for its tags. It reports whether a tag
// that is in place now will be gone, because another resource removes it or has
// removed it. It returns an error, and records nothing, if another resource
// plans another digest for one of the tags or removes it for good.
func (c *repoOwners) plan(d declaration, tags ...string) (disturbed bool, err error) {
	if err := c.recordPlanned(d, tags); err != nil || !d.idle {
		return false, err
	}
	for _, repository := range append(c.others(), c) {
		found, err := repository.affects(d, tags, repository == c)
		if err != nil {
			return false, err
		}
		disturbed = disturbed || found
	}
	return disturbed, nil
}

// recordPlanned notes what tags are planned to hold, unless another resource
// declares one of them to hold something else.
func (c *repoOwners) recordPlanned(d declaration, tags []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range tags {
		if other, is := c.declared[tag]; is && d.contradicts(other) {
			return &registry.Error{Side: registry.Destination, Op: "have two resources put the tag", Repository: d.destination.Name(), Reference: tag, Kind: registry.ErrTagHeld,
				Message: fmt.Sprintf("the copy of %s to %s wants it to hold %s, and the copy of %s to %s wants it to hold %s",
					d.source, d.destination, d.digest, other.source, other.destination, other.digest),
				Hint: "They would take it from each other with every apply. Leave it to one of them: take it out of `destination` or `additional_tags` of the other."}
		}
	}
	for _, tag := range tags {
		c.declared[tag] = d
	}
	return nil
}

// affects reports whether one of the tags that are in place is removed in this
// repository, or planned to be. own is false if the repository is only an alias
// of the one that the tags are in.
func (c *repoOwners) affects(d declaration, tags []string, own bool) (disturbed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range tags {
		if l, leaves := c.leaving[tag]; leaves && l.digest == d.digest {
			if l.binding {
				return false, d.errTagOwned(tag)
			}
			disturbed = true
		}
		removed, gone := c.removed[tag]
		disturbed = disturbed || gone && (own || removed == d.digest)
	}
	return disturbed, nil
}

// planRemoval registers tags that a resource removes by its plan, with the digests that
// it wrote. It returns the tags that another resource declares, which must not be
// removed. If the plan is binding, it returns an error instead for a tag that another
// resource has in place. A tag that another resource is about to write is protected by
// the claim of that resource.
func (c *repoOwners) planRemoval(put map[string]digest.Digest, binding bool) (spared []string, err error) {
	c.mu.Lock()
	for tag, d := range put {
		if c.declared[tag].digest != d {
			c.leaving[tag] = removal{d, binding}
		}
	}
	c.mu.Unlock()
	for _, repository := range append(c.others(), c) {
		for _, tag := range slices.Sorted(maps.Keys(put)) {
			switch d, is := repository.declares(tag); {
			case !is || d.digest != put[tag]:
			case !binding:
				spared = append(spared, tag)
			case d.idle:
				return nil, d.errTagOwned(tag)
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range spared {
		delete(c.leaving, tag)
	}
	return spared, nil
}

func (c *repoOwners) declares(tag string) (d declaration, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, is = c.declared[tag]
	return d, is
}

// errTagOwned is the error of a tag that one resource would remove and another one
// has in place.
func (d declaration) errTagOwned(tag string) error {
	return &registry.Error{Side: registry.Destination, Op: "remove the tag", Repository: d.destination.Name(), Reference: tag, Kind: registry.ErrTagHeld,
		Message: fmt.Sprintf("the copy of %s to %s has it in place, and another resource that wrote the same digest no longer lists it or gets another destination", d.source, d.destination),
		Hint:    "Give that other resource on_destroy = \"retain\" and apply that first."}
}

// expected returns the declaration that will decide what source holds at the
// end of this run: a copy to another destination than own that writes the tag
// of source, or any tag with its digest.
func (c *repoOwners) expected(source, own imageref.Ref) (expected declaration, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for tag, d := range c.declared {
		named := tag == source.Tag()
		if source.Digest() != "" {
			named = d.digest == source.Digest()
		}
		// Of several that put one digest there, one that knows its media type.
		if named && !d.destination.Equal(own) && expected.mediaType == "" {
			expected, is = d, true
		}
	}
	return expected, is
}
