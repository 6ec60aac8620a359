package provider

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
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
}

// of gives the claims in a repository, by its host/repository.
func (c *claims) of(repository string) *claimed {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.repositories == nil {
		c.repositories = map[string]*claimed{}
	}
	if c.repositories[repository] == nil {
		c.repositories[repository] = &claimed{
			removing: make(chan struct{}, 1), tags: map[string]digest.Digest{}, removed: map[string]bool{},
			declared: map[string]declaration{}, leaving: map[string]digest.Digest{},
		}
	}
	return c.repositories[repository]
}

// claimed are the claims in one repository.
type claimed struct {
	// While one plan is applied. Who has put something into removing has the
	// tags: while they are claimed, and while some of them are removed.
	removing chan struct{}
	tags     map[string]digest.Digest
	removed  map[string]bool

	// While one plan is made.
	declaring sync.Mutex
	declared  map[string]declaration
	leaving   map[string]digest.Digest // tags that resources are to remove, and what they put there
}

// declaration is what a resource wants its tags to hold. A provider is not told
// which resource it works for, and is asked about one more than once; but two
// that copy one source to one destination want the same.
type declaration struct {
	source, destination registry.Reference
	digest              digest.Digest
	mediaType           string // "" where it is not known
	// idle says that the tags are in place, so that nothing is planned, and
	// nobody will claim them while the plan is applied.
	idle bool
}

// contradicts says whether two resources cannot both have their way with a tag.
func (d declaration) contradicts(other declaration) bool {
	return (d.source != other.source || d.destination != other.destination) &&
		d.digest != other.digest && d.digest.Algorithm() == other.digest.Algorithm()
}

// declare notes what tags are planned to hold. The error says which of them
// another resource wants to hold something else; then nothing is noted.
func (c *claimed) declare(d declaration, tags ...string) error {
	c.declaring.Lock()
	defer c.declaring.Unlock()
	for _, tag := range tags {
		if other, is := c.declared[tag]; is && d.contradicts(other) {
			return &registry.Error{Side: registry.Destination, Op: "have two resources put the tag", Repository: d.destination.Name(), Reference: tag, Kind: registry.ErrTagHeld,
				Message: fmt.Sprintf("the copy of %s to %s wants it to hold %s, and the copy of %s to %s wants it to hold %s",
					d.source, d.destination, d.digest, other.source, other.destination, other.digest),
				Hint: "They would take it from each other with every apply. Leave it to one of them: take it out of `destination` or `additional_tags` of the other."}
		}
	}
	for _, tag := range tags {
		if d.idle && c.leaving[tag] == d.digest {
			return d.losesTag(tag)
		}
	}
	for _, tag := range tags {
		c.declared[tag] = d
	}
	return nil
}

// leave notes tags that a resource is planned to remove, with what it put there.
// The error says which of them another resource has in place. Of one that
// another is about to put there, its claim takes care.
func (c *claimed) leave(put map[string]digest.Digest) error {
	c.declaring.Lock()
	defer c.declaring.Unlock()
	for _, tag := range slices.Sorted(maps.Keys(put)) {
		if d, is := c.declared[tag]; is && d.idle && d.digest == put[tag] {
			return d.losesTag(tag)
		}
	}
	maps.Copy(c.leaving, put)
	return nil
}

// losesTag is the error of a tag that one resource would remove and another one
// has in place.
func (d declaration) losesTag(tag string) error {
	return &registry.Error{Side: registry.Destination, Op: "remove the tag", Repository: d.destination.Name(), Reference: tag, Kind: registry.ErrTagHeld,
		Message: fmt.Sprintf("the copy of %s to %s has it in place, and another resource that put the same there is to be destroyed, or lets go of it", d.source, d.destination),
		Hint: "If that other resource is one that was renamed, or that an apply which failed has left behind, let Terraform forget it: terraform state rm, or a removed block with lifecycle { destroy = false }. " +
			"Otherwise give it on_destroy = \"retain\" and apply that first."}
}

// expected is what source is to hold when this run is over, because a copy to
// another place than own declares to put it there: under the tag that source
// names, or, where it names a digest, under any.
func (c *claimed) expected(source, own registry.Reference) (expected declaration, is bool) {
	c.declaring.Lock()
	defer c.declaring.Unlock()
	for tag, d := range c.declared {
		named := tag == source.Tag
		if source.Digest != "" {
			named = d.digest == source.Digest
		}
		// Of several that put one digest there, one that knows its media type.
		if named && d.destination != own && expected.mediaType == "" {
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
	for _, tag := range tags {
		c.tags[tag] = d
		removed = removed || c.removed[tag]
	}
	return removed, nil
}

// remove runs a removal of tags with what is claimed. Nothing more is claimed
// until it returns, and no other removal runs: of resources that share a
// manifest, the last one then sees that nobody else names it. The error is the
// context's.
func (c *claimed) remove(ctx context.Context, tags []string, removal func(claimed map[string]digest.Digest)) error {
	select {
	case c.removing <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-c.removing }()
	for _, tag := range tags {
		c.removed[tag] = true
	}
	removal(maps.Clone(c.tags))
	return nil
}
