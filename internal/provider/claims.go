package provider

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/place"
)

// claims are the tags that resources of one provider configuration put, or find
// in place, while it lasts: while one plan is made or applied. Without them the
// end of a resource that is replaced or renamed would take away what its
// successor has just put there, which holds the same digest and so looks like
// its own; two resources that declare one tag would take it from each other
// with every apply; and a copy from where another one is still to put the image
// could not be planned. Terraform runs a process for each provider
// configuration, so that an alias knows nothing of the claims of another.
type claims struct {
	mu           sync.Mutex
	repositories map[string]*claimed
	created      []creation
}

// creation is a copy that this run has begun to make anew. Its places are
// canonical.
type creation struct{ source, destination place.Place }

func (c *claims) creates(made creation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.created = append(c.created, made)
}

// replaces says whether this run makes a copy that may be in the place of an old
// one: of the same source or to the same destination.
func (c *claims) replaces(old creation) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.created, func(made creation) bool {
		return made.source.Same(old.source) || made.destination.Same(old.destination)
	})
}

// of gives the claims in a repository, by the name of its canonical place.
func (c *claims) of(repository string) *claimed {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.repositories == nil {
		c.repositories = map[string]*claimed{}
	}
	if c.repositories[repository] == nil {
		c.repositories[repository] = &claimed{
			removing: make(chan struct{}, 1),
			declared: map[string]declaration{}, leaving: map[string]leave{}, tags: map[string]digest.Digest{}, removed: map[string]bool{},
		}
	}
	return c.repositories[repository]
}

// claimed are the claims in one repository.
type claimed struct {
	// Who has put something into removing removes tags, or claims some.
	removing chan struct{}

	mu       sync.Mutex
	declared map[string]declaration   // what the plan is for tags to hold
	leaving  map[string]leave         // tags that are planned to be removed
	tags     map[string]digest.Digest // what was claimed while applying
	removed  map[string]bool          // while applying
}

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
	source, destination place.Place // canonical
	digest              digest.Digest
	mediaType           string // "" where it is not known
	// referrers says that what refers to it is brought too, so that who copies it
	// from there finds more than there is now.
	referrers bool
	// idle says that the tags are in place, so that nothing is planned, and
	// nobody will claim them while the plan is applied.
	idle bool
}

// contradicts says whether two resources cannot both have their way with a tag.
func (d declaration) contradicts(other declaration) bool {
	return (!d.source.Same(other.source) || !d.destination.Same(other.destination)) &&
		d.digest != other.digest && d.digest.Algorithm() == other.digest.Algorithm()
}

// declare notes what tags are planned to hold. It says whether one of them is in
// place and will not stay there by itself, because another resource is to remove
// it, or has. The error says which of them another resource wants to hold
// something else, or to remove for good; then nothing is noted.
func (c *claimed) declare(d declaration, tags ...string) (disturbed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range tags {
		if other, is := c.declared[tag]; is && d.contradicts(other) {
			return false, &registry.Error{Side: registry.Destination, Op: "have two resources put the tag", Repository: d.destination.Name(), Reference: tag, Kind: registry.ErrTagHeld,
				Message: fmt.Sprintf("the copy of %s to %s wants it to hold %s, and the copy of %s to %s wants it to hold %s",
					d.source, d.destination, d.digest, other.source, other.destination, other.digest),
				Hint: "They would take it from each other with every apply. Leave it to one of them: take it out of `destination` or `additional_tags` of the other."}
		}
		l, leaves := c.leaving[tag]
		if d.idle && leaves && l.digest == d.digest {
			if l.binding {
				return false, d.losesTag(tag)
			}
			disturbed = true
		}
		disturbed = disturbed || d.idle && c.removed[tag]
	}
	for _, tag := range tags {
		c.declared[tag] = d
	}
	return disturbed, nil
}

// leave notes tags that a resource is planned to remove, with what it put there.
// It returns those that another resource declares: they are to be spared. Where
// the plan is binding and cannot spare them, one that another has in place is an
// error; what another is about to put there its claim takes care of.
func (c *claimed) leave(put map[string]digest.Digest, binding bool) (spared []string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range slices.Sorted(maps.Keys(put)) {
		switch d, is := c.declared[tag]; {
		case !is || d.digest != put[tag]:
			c.leaving[tag] = leave{put[tag], binding}
		case !binding:
			spared = append(spared, tag)
		case d.idle:
			return nil, d.losesTag(tag)
		}
	}
	return spared, nil
}

// losesTag is the error of a tag that one resource would remove and another one
// has in place.
func (d declaration) losesTag(tag string) error {
	return &registry.Error{Side: registry.Destination, Op: "remove the tag", Repository: d.destination.Name(), Reference: tag, Kind: registry.ErrTagHeld,
		Message: fmt.Sprintf("the copy of %s to %s has it in place, and another resource that put the same there lets go of it or is replaced", d.source, d.destination),
		Hint:    "Give that other resource on_destroy = \"retain\" and apply that first."}
}

// expected is what source is to hold when this run is over, because a copy to
// another place than own declares to put it there: under the tag that source
// names, or, where it names a digest, under any. own is a canonical place.
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

// claim notes that tags are to hold d, and says whether one of them was removed
// during this run. It waits for a removal that has begun, so that whoever claims
// sees at the registry what it left. The error is the context's.
func (c *claimed) claim(ctx context.Context, d digest.Digest, tags ...string) (removed bool, err error) {
	select {
	case c.removing <- struct{}{}:
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	defer func() { <-c.removing }()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range tags {
		c.tags[tag] = d
		removed = removed || c.removed[tag]
	}
	return removed, nil
}

// remove runs a removal of tags with what others claim, or are planned to put,
// as far as that is known. Nothing more is claimed until it returns, and no
// other removal runs: of resources that share a manifest, the last one then sees
// that nobody else names it. The error is the context's.
func (c *claimed) remove(ctx context.Context, tags []string, removal func(claimed map[string]digest.Digest)) error {
	select {
	case c.removing <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-c.removing }()
	removal(c.others(tags))
	return nil
}

// others are the tags that are claimed or declared. Of tags, the others are
// taken for removed from now on.
func (c *claimed) others(tags []string) map[string]digest.Digest {
	c.mu.Lock()
	defer c.mu.Unlock()
	others := map[string]digest.Digest{}
	for tag, d := range c.declared {
		others[tag] = d.digest
	}
	maps.Copy(others, c.tags)
	for _, tag := range tags {
		if _, is := others[tag]; !is {
			c.removed[tag] = true
		}
	}
	return others
}
