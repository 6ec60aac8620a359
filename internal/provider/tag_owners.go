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

// tagOwners records which resources of one provider configuration own which tags. It lasts for
// one process, in which Terraform makes or applies one plan. It prevents three mistakes:
//
//   - Destroying a renamed or moved resource removes the tag that its successor has just
//     written. Both tags have the same digest, so the registry cannot distinguish them.
//   - Two resources that declare the same tag overwrite it in turn with every apply.
//   - A copy cannot be planned if another resource still has to write its source.
//
// Terraform runs one process for each provider configuration, so the resources of one alias are
// unknown to another alias.
type tagOwners struct {
	// mayBeSame reports whether two hosts with different names may be the same registry. If it
	// is nil, different names are different registries.
	mayBeSame func(ctx context.Context, a, b string) bool

	mu      sync.Mutex
	byName  map[string]*repoOwners // by name
	ordered []*repoOwners          // in the order of creation
}

// forRepository returns the owners in the repository of destination. The first call for a
// repository also links repositories that may be the same one.
func (c *tagOwners) forRepository(ctx context.Context, destination imageref.Ref) *repoOwners {
	c.mu.Lock()
	name := destination.Name()
	repository := c.byName[name]
	if repository == nil {
		repository = newRepoOwners(destination, c.ordered)
		if c.byName == nil {
			c.byName = map[string]*repoOwners{}
		}
		c.byName[name] = repository
		c.ordered = append(c.ordered, repository)
	}
	c.mu.Unlock()
	repository.linked.Do(func() { repository.linkAliases(ctx, c.mayBeSame) })
	return repository
}

// lookup returns the owners in the repository of p, or nil if no resource writes to it.
func (c *tagOwners) lookup(p imageref.Ref) *repoOwners {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byName[p.Name()]
}

// repoOwners records the owners of the tags in one repository.
type repoOwners struct {
	name, host, path string // host is empty for an image layout
	age              int
	older            []*repoOwners
	linked           sync.Once

	// removalLock is held while tags are removed and while a resource takes ownership of tags.
	removalLock chan struct{}

	mu              sync.Mutex
	aliases         []*repoOwners            // repositories of other hosts that may be this one
	listed          map[string]bool          // tags that configured resources list, also if their plan fails
	declared        map[string]declaration   // planned content of tags
	plannedRemovals map[string]removal       // tags that a plan removes
	tags            map[string]tagTarget     // tags that resources own in this apply
	removed         map[string]digest.Digest // removed in this apply, with the digest that they pointed to
	restored        map[string]digest.Digest // removed in this run and written again
	// deleted maps digests to the manifests that were deleted in this apply, up to
	// maxDeletedBytes.
	deleted      map[digest.Digest]registry.Manifest
	deletedBytes int64
}

func newRepoOwners(destination imageref.Ref, older []*repoOwners) *repoOwners {
	c := &repoOwners{
		name: destination.Name(), age: len(older), older: slices.Clone(older), removalLock: make(chan struct{}, 1),
		listed: map[string]bool{}, declared: map[string]declaration{}, plannedRemovals: map[string]removal{}, tags: map[string]tagTarget{}, removed: map[string]digest.Digest{}, restored: map[string]digest.Digest{}, deleted: map[digest.Digest]registry.Manifest{},
	}
	if ref, inRegistry := destination.Reference(); inRegistry {
		c.host, c.path = ref.Host, ref.Repository
	}
	return c
}

// linkAliases makes this repository and each older repository with the same path aliases of
// each other if their hosts may be the same registry.
func (c *repoOwners) linkAliases(ctx context.Context, mayBeSame func(ctx context.Context, a, b string) bool) {
	for _, other := range c.older {
		if mayBeSame == nil || c.host == "" || c.path != other.path || !mayBeSame(ctx, c.host, other.host) {
			continue
		}
		c.addAlias(other)
		other.addAlias(c)
	}
	c.older = nil
}

func (c *repoOwners) addAlias(other *repoOwners) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aliases = append(c.aliases, other)
}

// aliasSnapshot returns a copy of the list of aliases.
func (c *repoOwners) aliasSnapshot() []*repoOwners {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.aliases)
}

// lock waits until no removal runs in this repository or in an alias, and blocks new ones until
// unlock is called. The only possible error is the cancellation cause of ctx.
func (c *repoOwners) lock(ctx context.Context) (unlock func(), err error) {
	all := append(c.aliasSnapshot(), c)
	slices.SortFunc(all, func(a, b *repoOwners) int { return a.age - b.age }) // a fixed order prevents deadlocks
	locked := 0
	unlock = func() {
		for _, repository := range all[:locked] {
			<-repository.removalLock
		}
	}
	for _, repository := range all {
		select {
		case repository.removalLock <- struct{}{}:
			locked++
		case <-ctx.Done():
			unlock()
			return nil, context.Cause(ctx)
		}
	}
	return unlock, nil
}

// tagTarget is the manifest that a resource writes to a tag or has found there.
type tagTarget struct {
	digest    digest.Digest // empty if it is not planned yet
	mediaType string        // empty if unknown
}

// own records that the tags belong to a resource and point to target. It reports whether one of
// them was removed during this run. It waits for a removal in progress, so that the caller sees
// the result of the removal at the registry. The only possible error is the cancellation cause
// of ctx.
func (c *repoOwners) own(ctx context.Context, target tagTarget, tags ...string) (removed bool, err error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	for _, tag := range tags {
		removed = c.recordOwned(tag, target) || removed
	}
	for _, alias := range c.aliasSnapshot() {
		removed = alias.hasRemoved(target.digest, tags) || removed
	}
	return removed, nil
}

func (c *repoOwners) recordOwned(tag string, target tagTarget) (removed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tags[tag] = target
	_, removed = c.removed[tag]
	return removed
}

// hasRemoved reports whether one of the tags was removed while it pointed to d.
func (c *repoOwners) hasRemoved(d digest.Digest, tags []string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(tags, func(tag string) bool { return c.removed[tag] == d })
}

// protectedTags are the tags that other resources list, own or plan to write in a repository.
type protectedTags struct {
	tags map[string]tagTarget
	// aliases maps a tag that has, or may have, the same digest in an alias of the repository to
	// the name of that alias.
	aliases map[string]string
	// inAliases maps references in aliases of the repository to their targets.
	inAliases map[string]tagTarget
}

// contains reports whether a tag must not be removed.
func (t protectedTags) contains(tag string) bool {
	_, here := t.tags[tag]
	_, there := t.aliases[tag]
	return here || there
}

// remove calls removal with the tags that other resources list, own or plan to write. The map
// tags has the digests that the tags to remove point to. Until removal returns, no resource takes
// ownership of a tag and no other removal runs. When several resources that share a manifest
// are destroyed, the last of them therefore finds no other tag for it. The only possible error
// is the cancellation cause of ctx.
func (c *repoOwners) remove(ctx context.Context, tags map[string]digest.Digest, removal func(protectedTags)) error {
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	// Record the removal before reading the owners. A resource that plans one of the tags
	// concurrently then either sees the removal or is seen here.
	c.mu.Lock()
	maps.Copy(c.removed, tags)
	c.mu.Unlock()
	t := protectedTags{tags: c.targets(), aliases: map[string]string{}, inAliases: map[string]tagTarget{}}
	for _, alias := range c.aliasSnapshot() {
		for tag, target := range alias.targets() {
			t.inAliases[alias.name+":"+tag] = target
			if d, removes := tags[tag]; removes && (target.digest == "" || target.digest == d) {
				t.aliases[tag] = alias.name
			}
		}
	}
	c.mu.Lock()
	for tag := range tags {
		if t.contains(tag) {
			delete(c.removed, tag)
		}
	}
	c.mu.Unlock()
	removal(t)
	return nil
}

// maxDeletedBytes limits the total size of the deleted manifests kept for one repository.
const maxDeletedBytes = 16 << 20

// keepDeleted keeps a deleted manifest for the rest of the run, so that it can be restored if
// another resource needs it.
func (c *repoOwners) keepDeleted(m registry.Manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if size := int64(len(m.Content)); c.deletedBytes+size <= maxDeletedBytes {
		c.deletedBytes += size
		c.deleted[m.Digest] = m
	}
}

// confirmRemoved drops the record of removal for the tags that are not in confirmed, because
// they did not point to the digest to remove.
func (c *repoOwners) confirmRemoved(tags []string, confirmed map[string]digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range tags {
		if confirmed[tag] == "" {
			delete(c.removed, tag)
		}
	}
}

// removedDigest returns the digest that a tag pointed to when another resource removed it in
// this run. It returns "" if no resource removed the tag.
func (c *repoOwners) removedDigest(tag string) digest.Digest {
	for _, repository := range append([]*repoOwners{c}, c.aliasSnapshot()...) {
		repository.mu.Lock()
		d := repository.removed[tag]
		repository.mu.Unlock()
		if d != "" {
			return d
		}
	}
	return ""
}

// deletedManifest returns a manifest that was deleted in this run, and reports whether it is
// available.
func (c *repoOwners) deletedManifest(d digest.Digest) (m registry.Manifest, known bool) {
	for _, repository := range append([]*repoOwners{c}, c.aliasSnapshot()...) {
		repository.mu.Lock()
		m, known = repository.deleted[d]
		repository.mu.Unlock()
		if known {
			return m, true
		}
	}
	return registry.Manifest{}, false
}

// list records the tags that a resource of the configuration lists, before their content is
// planned. They are not removed even if the plan of that resource fails. A removal in progress
// either sees them, or has recorded the tag as removed before list returns.
func (c *repoOwners) list(tags ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range tags {
		c.listed[tag] = true
	}
}

// targets returns the tags that resources list, have declared or own, with their content.
func (c *repoOwners) targets() map[string]tagTarget {
	c.mu.Lock()
	defer c.mu.Unlock()
	targets := map[string]tagTarget{}
	for tag := range c.listed {
		targets[tag] = tagTarget{}
	}
	for tag, d := range c.declared {
		targets[tag] = tagTarget{d.digest, d.mediaType}
	}
	maps.Copy(targets, c.tags)
	return targets
}
