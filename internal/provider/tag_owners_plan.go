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
	// binding reports whether the plan can no longer change if another resource turns out to
	// own the tag.
	binding bool
}

// declaration is the planned content of a resource's tags. Terraform does not identify the
// resource that a call is for, and it plans a resource more than once. Two declarations with
// the same source, destination and platforms are therefore treated as the same resource.
type declaration struct {
	source, destination imageref.Ref
	platforms           []string
	digest              digest.Digest
	mediaType           string // empty if unknown
	// referrers reports whether the resource also copies referrers. A copy from its destination
	// then finds more referrers than exist now.
	referrers bool
	// unchanged reports whether the tags are up to date. No change is planned then, and the
	// resource does not take ownership during apply.
	unchanged bool
}

// contradicts reports whether d and other are different resources with different digests for a
// tag. The same resource may be planned twice with different digests, if the source tag moves
// in between.
func (d declaration) contradicts(other declaration) bool {
	same := d.source.Equal(other.source) && d.destination.Equal(other.destination) && slices.Equal(d.platforms, other.platforms)
	return !same &&
		d.digest != other.digest && d.digest.Algorithm() == other.digest.Algorithm()
}

// plan records the planned content of tags. It reports whether a tag that is up to date now
// will be missing, because another resource removes it or has removed it. If another resource
// plans a different digest for one of the tags, or irrevocably removes it, plan returns an
// error. It records nothing if the digests differ.
func (c *repoOwners) plan(d declaration, tags ...string) (affected bool, err error) {
	if err := c.recordPlanned(d, tags); err != nil || !d.unchanged {
		return false, err
	}
	for _, repository := range append(c.aliasSnapshot(), c) {
		found, err := repository.affects(d, tags, repository == c)
		if err != nil {
			return false, err
		}
		affected = affected || found
	}
	return affected, nil
}

// recordPlanned records the planned content of tags, unless another resource declares different
// content for one of them.
func (c *repoOwners) recordPlanned(d declaration, tags []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range tags {
		if other, ok := c.declared[tag]; ok && d.contradicts(other) {
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

// affects reports whether one of the tags is removed in this repository, or planned to be
// removed. sameRepository is false if this repository is only an alias of the one that contains
// the tags.
func (c *repoOwners) affects(d declaration, tags []string, sameRepository bool) (affected bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range tags {
		if removal, planned := c.plannedRemovals[tag]; planned && removal.digest == d.digest {
			if removal.binding {
				return false, d.errTagOwned(tag)
			}
			affected = true
		}
		removed, wasRemoved := c.removed[tag]
		affected = affected || wasRemoved && (sameRepository || removed == d.digest)
	}
	return affected, nil
}

// planRemoval records tags that a resource plans to remove, with the digests that it wrote. It
// returns the tags that another resource declares, which must not be removed. If the plan is
// binding and another resource uses one of the tags unchanged, it returns an error instead. A
// tag that another resource is about to write is protected when that resource takes ownership
// of it.
func (c *repoOwners) planRemoval(written map[string]digest.Digest, binding bool) (spared []string, err error) {
	c.mu.Lock()
	for tag, d := range written {
		if c.declared[tag].digest != d {
			c.plannedRemovals[tag] = removal{d, binding}
		}
	}
	c.mu.Unlock()
	for _, repository := range append(c.aliasSnapshot(), c) {
		for _, tag := range slices.Sorted(maps.Keys(written)) {
			switch d, ok := repository.declarationOf(tag); {
			case !ok || d.digest != written[tag]:
			case !binding:
				spared = append(spared, tag)
			case d.unchanged:
				return nil, d.errTagOwned(tag)
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range spared {
		delete(c.plannedRemovals, tag)
	}
	return spared, nil
}

// retractRemoval forgets that the plan of a resource removes tags, unless a plan is bound to
// remove them.
func (c *repoOwners) retractRemoval(written map[string]digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for tag, d := range written {
		if c.plannedRemovals[tag] == (removal{digest: d}) {
			delete(c.plannedRemovals, tag)
		}
	}
}

func (c *repoOwners) declarationOf(tag string) (d declaration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok = c.declared[tag]
	return d, ok
}

// errTagOwned returns the error for a tag that one resource removes while another one uses it.
func (d declaration) errTagOwned(tag string) error {
	return &registry.Error{Side: registry.Destination, Op: "remove the tag", Repository: d.destination.Name(), Reference: tag, Kind: registry.ErrTagHeld,
		Message: fmt.Sprintf("the copy of %s to %s has it in place, and another resource that wrote the same digest no longer lists it or gets another destination", d.source, d.destination),
		Hint:    "Give that other resource on_destroy = \"retain\" and apply that first."}
}

// expected returns the declaration that determines the content of source at the end of this
// run. It is a copy to a destination other than ownDestination. It writes the tag of source or,
// if source has a digest, any tag with that digest.
func (c *repoOwners) expected(source, ownDestination imageref.Ref) (expected declaration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for tag, d := range c.declared {
		matches := tag == source.Tag()
		if source.Digest() != "" {
			matches = d.digest == source.Digest()
		}
		// If several resources write the digest, prefer one with a known media type.
		if matches && !d.destination.Equal(ownDestination) && expected.mediaType == "" {
			expected, ok = d, true
		}
	}
	return expected, ok
}
