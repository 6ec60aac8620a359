package provider

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

// tagOwners are the tags that resources of one provider configuration put, or find
// in place, while it lasts: while one plan is made or applied. Without them the
// end of a resource that is renamed or moved would take away what another one
// has just put there, which holds the same digest and so looks like its own; two
// resources that declare one tag would take it from each other with every apply;
// and a copy from where another one is still to put the image could not be
// planned. Terraform runs a process for each provider configuration, so that an
// alias knows nothing of the tagOwners of another.
type tagOwners struct {
	// mayBeSame reports whether two hosts of different names may be one registry.
	// nil means that they never are.
	mayBeSame func(ctx context.Context, a, b string) bool

	mu           sync.Mutex
	repositories map[string]*repoOwners // by name
	ordered      []*repoOwners          // by age
}

// of returns the claims in the repository of a destination. The first call for a
// repository looks for others that may be the same one.
func (c *tagOwners) of(ctx context.Context, destination imageref.Ref) *repoOwners {
	c.mu.Lock()
	name := destination.Name()
	repository := c.repositories[name]
	if repository == nil {
		repository = newClaimed(destination, c.ordered)
		if c.repositories == nil {
			c.repositories = map[string]*repoOwners{}
		}
		c.repositories[name] = repository
		c.ordered = append(c.ordered, repository)
	}
	c.mu.Unlock()
	repository.linked.Do(func() { repository.link(ctx, c.mayBeSame) })
	return repository
}

// existing returns the claims in the repository of a place, or nil if nothing is
// put there.
func (c *tagOwners) existing(p imageref.Ref) *repoOwners {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.repositories[p.Name()]
}

// repoOwners are the claims in one repository.
type repoOwners struct {
	name, host, path string // host is "" for an image layout
	age              int
	older            []*repoOwners
	linked           sync.Once

	// removing is held by whoever removes tags, or claims some.
	removing chan struct{}

	mu       sync.Mutex
	aliases  []*repoOwners            // repositories of other hosts that may be this one
	declared map[string]declaration   // what the plan is for tags to hold
	leaving  map[string]removal       // tags that are planned to be removed
	tags     map[string]claim         // what was claimed while applying
	removed  map[string]digest.Digest // while applying
	restored map[string]digest.Digest // of those that were removed
	// deleted are the manifests that were deleted while applying, as far as they are
	// kept.
	deleted      map[digest.Digest]registry.Manifest
	deletedBytes int64
}

func newClaimed(destination imageref.Ref, older []*repoOwners) *repoOwners {
	c := &repoOwners{
		name: destination.Name(), age: len(older), older: slices.Clone(older), removing: make(chan struct{}, 1),
		declared: map[string]declaration{}, leaving: map[string]removal{}, tags: map[string]claim{}, removed: map[string]digest.Digest{}, restored: map[string]digest.Digest{}, deleted: map[digest.Digest]registry.Manifest{},
	}
	if ref, inRegistry := destination.Reference(); inRegistry {
		c.host, c.path = ref.Host, ref.Repository
	}
	return c
}

// link makes aliases of this repository and of each older one with the same path
// whose host may be the same registry.
func (c *repoOwners) link(ctx context.Context, mayBeSame func(ctx context.Context, a, b string) bool) {
	for _, other := range c.older {
		if mayBeSame == nil || c.host == "" || c.path != other.path || !mayBeSame(ctx, c.host, other.host) {
			continue
		}
		c.alias(other)
		other.alias(c)
	}
	c.older = nil
}

func (c *repoOwners) alias(other *repoOwners) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aliases = append(c.aliases, other)
}

// others returns the aliases.
func (c *repoOwners) others() []*repoOwners {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.aliases)
}

// lock waits until no removal runs in this repository or an alias, and keeps
// others from running until unlock is called. The error is the context's.
func (c *repoOwners) lock(ctx context.Context) (unlock func(), err error) {
	all := append(c.others(), c)
	slices.SortFunc(all, func(a, b *repoOwners) int { return a.age - b.age }) // so that two cannot wait for each other
	held := 0
	unlock = func() {
		for _, repository := range all[:held] {
			<-repository.removing
		}
	}
	for _, repository := range all {
		select {
		case repository.removing <- struct{}{}:
			held++
		case <-ctx.Done():
			unlock()
			return nil, context.Cause(ctx)
		}
	}
	return unlock, nil
}

// claim is what a resource puts under a tag, or found there, in this run.
type claim struct {
	digest    digest.Digest
	mediaType string // "" if it is not known
}

// own notes that tags are to hold what it says, and reports whether one of them
// was removed during this run. It waits for a removal that has begun, so that
// whoever claims sees at the registry what it left. The error is the context's.
func (c *repoOwners) own(ctx context.Context, what claim, tags ...string) (removed bool, err error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	for _, tag := range tags {
		removed = c.note(tag, what) || removed
	}
	for _, alias := range c.others() {
		removed = alias.hasRemoved(what.digest, tags) || removed
	}
	return removed, nil
}

func (c *repoOwners) note(tag string, what claim) (removed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tags[tag] = what
	_, removed = c.removed[tag]
	return removed
}

// hasRemoved reports whether one of the tags was removed when it held d.
func (c *repoOwners) hasRemoved(d digest.Digest, tags []string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(tags, func(tag string) bool { return c.removed[tag] == d })
}

// taken is what other resources have, or are to put, in a repository.
type taken struct {
	tags map[string]claim
	// aliases are tags with the same digest in a repository that may be the same
	// one, with its name.
	aliases map[string]string
	// elsewhere are all claims in such repositories, by reference.
	elsewhere map[string]claim
}

// has reports whether a tag must not be removed.
func (t taken) has(tag string) bool {
	_, here := t.tags[tag]
	_, there := t.aliases[tag]
	return here || there
}

// remove runs a removal of tags, given with the digests that they hold, with what
// others claim or are planned to put, as far as that is known. Nothing more is
// claimed until it returns, and no other removal runs: of resources that share a
// manifest, the last one then sees that nothing else names it. The error is the
// context's.
func (c *repoOwners) remove(ctx context.Context, tags map[string]digest.Digest, removal func(taken)) error {
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	// The tags are registered as removed before the claims are read: another resource
	// that plans one of them at the same moment then sees that, or is seen here.
	c.mu.Lock()
	maps.Copy(c.removed, tags)
	c.mu.Unlock()
	t := taken{tags: c.known(), aliases: map[string]string{}, elsewhere: map[string]claim{}}
	for _, alias := range c.others() {
		for tag, what := range alias.known() {
			t.elsewhere[alias.name+":"+tag] = what
			if d, removes := tags[tag]; removes && d == what.digest {
				t.aliases[tag] = alias.name
			}
		}
	}
	c.mu.Lock()
	for tag := range tags {
		if t.has(tag) {
			delete(c.removed, tag)
		}
	}
	c.mu.Unlock()
	removal(t)
	return nil
}

// maxDeletedBytes bounds the deleted manifests that are kept in one repository.
const maxDeletedBytes = 16 << 20

// keepDeleted keeps a manifest that is deleted for the rest of the run, so that it can
// be restored for a resource that turns out to need it.
func (c *repoOwners) keepDeleted(m registry.Manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if size := int64(len(m.Content)); c.deletedBytes+size <= maxDeletedBytes {
		c.deletedBytes += size
		c.deleted[m.Digest] = m
	}
}

// keepsRemoved records that of the tags of a removal only some were there to be removed.
func (c *repoOwners) keepsRemoved(tags []string, removed map[string]digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range tags {
		if removed[tag] == "" {
			delete(c.removed, tag)
		}
	}
}

// removedFrom returns the digest that a tag held when another resource removed it in
// this run, "" if none did.
func (c *repoOwners) removedFrom(tag string) digest.Digest {
	for _, repository := range append([]*repoOwners{c}, c.others()...) {
		repository.mu.Lock()
		d := repository.removed[tag]
		repository.mu.Unlock()
		if d != "" {
			return d
		}
	}
	return ""
}

// deletedManifest returns a manifest that was deleted in this run, and reports whether it
// is known.
func (c *repoOwners) deletedManifest(d digest.Digest) (m registry.Manifest, known bool) {
	for _, repository := range append([]*repoOwners{c}, c.others()...) {
		repository.mu.Lock()
		m, known = repository.deleted[d]
		repository.mu.Unlock()
		if known {
			return m, true
		}
	}
	return registry.Manifest{}, false
}

// known are the tags that are claimed or declared.
func (c *repoOwners) known() map[string]claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := map[string]claim{}
	for tag, d := range c.declared {
		known[tag] = claim{d.digest, d.mediaType}
	}
	maps.Copy(known, c.tags)
	return known
}
