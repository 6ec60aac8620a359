package provider

import (
	"fmt"
	"maps"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// claims are the tags that resources of one provider configuration put, or find
// in place, while it lasts: while one plan is made or applied. Without them the
// end of a resource that is replaced or renamed would take away what its
// successor has just put there, which holds the same digest and so looks like
// its own; and two resources that declare one tag would take it from each other
// with every apply. Terraform runs a process for each provider configuration,
// so that an alias knows nothing of the claims of another.
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
		c.repositories[repository] = &claimed{tags: map[string]digest.Digest{}, declared: map[string]declaration{}}
	}
	return c.repositories[repository]
}

// claimed are the claims in one repository.
type claimed struct {
	removing sync.Mutex // held while tags are removed
	tags     map[string]digest.Digest

	declaring sync.Mutex
	declared  map[string]declaration
}

// declaration is what a resource wants its tags to hold. A provider is not told
// which resource it works for, and is asked about one more than once; but two
// that copy one source to one destination want the same.
type declaration struct {
	source, destination registry.Reference
	digest              digest.Digest
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
		c.declared[tag] = d
	}
	return nil
}

// claim notes that tags are to hold d. It waits for a removal that has begun,
// so that whoever claims sees at the registry what it left.
func (c *claimed) claim(d digest.Digest, tags ...string) {
	c.removing.Lock()
	defer c.removing.Unlock()
	for _, tag := range tags {
		c.tags[tag] = d
	}
}

// remove runs a removal with what is claimed. Nothing more is claimed until it
// returns, and no other removal runs: of resources that share a manifest, the
// last one then sees that nobody else names it.
func (c *claimed) remove(removal func(claimed map[string]digest.Digest)) {
	c.removing.Lock()
	defer c.removing.Unlock()
	removal(maps.Clone(c.tags))
}
