package provider

import (
	"maps"
	"sync"

	"github.com/opencontainers/go-digest"
)

// claims are the tags that resources of one provider configuration put, or find
// in place, while it lasts: while one plan is applied. Without them the end of
// a resource that is replaced or renamed would take away what its successor has
// just put there, which holds the same digest and so looks like its own.
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
		c.repositories[repository] = &claimed{tags: map[string]digest.Digest{}}
	}
	return c.repositories[repository]
}

// claimed are the claims in one repository.
type claimed struct {
	removing sync.RWMutex // read-locked while tags are removed
	tags     map[string]digest.Digest
}

// claim notes that tags are to hold d. It waits for removals that have begun,
// so that whoever claims sees at the registry what they left.
func (c *claimed) claim(d digest.Digest, tags ...string) {
	c.removing.Lock()
	defer c.removing.Unlock()
	for _, tag := range tags {
		c.tags[tag] = d
	}
}

// remove runs a removal with what is claimed. Nothing more is claimed until it
// returns.
func (c *claimed) remove(removal func(claimed map[string]digest.Digest)) {
	c.removing.RLock()
	defer c.removing.RUnlock()
	removal(maps.Clone(c.tags))
}
