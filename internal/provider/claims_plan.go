package provider

import (
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/place"
)

// leave is the plan to remove a tag from what a resource put under it.
type leave struct {
	digest digest.Digest
	// binding says that the plan cannot be changed any more when it turns out
	// that another resource has the tag.
	binding bool
}

// declaration is what a resource wants its tags to hold. A provider is not told
// which resource it works for, and is asked about one more than once; but two
// that copy one source to one destination want the same.
type declaration struct {
	source, destination place.Place
	platforms           []string
	digest              digest.Digest
	mediaType           string // "" where it is not known
	// referrers says that what refers to it is brought too, so that who copies it
	// from there finds more than there is now.
	referrers bool
	// idle says that the tags are in place, so that nothing is planned, and
	// nobody will claim them while the plan is applied.
	idle bool
}

// contradicts reports whether two resources want a tag to hold different digests.
// One resource may be planned twice, with another digest if the source has moved.
func (d declaration) contradicts(other declaration) bool {
	same := d.source.Same(other.source) && d.destination.Same(other.destination) && slices.Equal(d.platforms, other.platforms)
	return !same &&
		d.digest != other.digest && d.digest.Algorithm() == other.digest.Algorithm()
}

// declare notes what tags are planned to hold. It says whether one of them is in
// place and will not stay there by itself, because another resource is to remove
// it, or has. The error says which of them another resource wants to hold
// something else, or to remove for good.
func (c *claimed) declare(d declaration, tags ...string) (disturbed bool, err error) {
	if err := c.noteDeclared(d, tags); err != nil || !d.idle {
		return false, err
	}
	for _, repository := range append(c.others(), c) {
		found, err := repository.disturbs(d, tags, repository == c)
		if err != nil {
			return false, err
		}
		disturbed = disturbed || found
	}
	return disturbed, nil
}

// noteDeclared notes what tags are planned to hold, unless another resource
// declares one of them to hold something else.
func (c *claimed) noteDeclared(d declaration, tags []string) error {
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

// disturbs reports whether one of the tags that a resource has in place is
// removed here, or planned to be. own says that it is the resource's repository,
// and not one that may be the same.
func (c *claimed) disturbs(d declaration, tags []string, own bool) (disturbed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range tags {
		if l, leaves := c.leaving[tag]; leaves && l.digest == d.digest {
			if l.binding {
				return false, d.losesTag(tag)
			}
			disturbed = true
		}
		removed, gone := c.removed[tag]
		disturbed = disturbed || gone && (own || removed == d.digest)
	}
	return disturbed, nil
}

// leave notes tags that a resource is planned to remove, with what it put there.
// It returns those that another resource declares: they are to be spared. Where
// the plan is binding and cannot spare them, one that another has in place is an
// error; what another is about to put there its claim takes care of.
func (c *claimed) leave(put map[string]digest.Digest, binding bool) (spared []string, err error) {
	c.mu.Lock()
	for tag, d := range put {
		if c.declared[tag].digest != d {
			c.leaving[tag] = leave{d, binding}
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
				return nil, d.losesTag(tag)
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

func (c *claimed) declares(tag string) (d declaration, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, is = c.declared[tag]
	return d, is
}

// losesTag is the error of a tag that one resource would remove and another one
// has in place.
func (d declaration) losesTag(tag string) error {
	return &registry.Error{Side: registry.Destination, Op: "remove the tag", Repository: d.destination.Name(), Reference: tag, Kind: registry.ErrTagHeld,
		Message: fmt.Sprintf("the copy of %s to %s has it in place, and another resource that put the same there no longer lists it or gets another destination", d.source, d.destination),
		Hint:    "Give that other resource on_destroy = \"retain\" and apply that first."}
}

// expected is what source is to hold when this run is over, because a copy to
// another place than own declares to put it there: under the tag that source
// names, or, where it names a digest, under any.
func (c *claimed) expected(source, own place.Place) (expected declaration, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for tag, d := range c.declared {
		named := tag == source.Tag()
		if source.Digest() != "" {
			named = d.digest == source.Digest()
		}
		// Of several that put one digest there, one that knows its media type.
		if named && !d.destination.Same(own) && expected.mediaType == "" {
			expected, is = d, true
		}
	}
	return expected, is
}
