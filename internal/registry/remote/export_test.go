package remote

import (
	"math"
	"net/netip"
	"net/url"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Held is how many slots of all hosts are taken.
func (c *Client) HeldSlots() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := 0
	for _, h := range c.hosts {
		h.limiter.mu.Lock()
		held += h.limiter.inFlight()
		h.limiter.mu.Unlock()
	}
	return held
}

// Allowed is how many requests a host may have in flight by now.
func (c *Client) Allowed(host string) int {
	l := c.hostOf(host).limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.allowed
}

// ReachOf names how far an address is.
func AddrScope(a netip.Addr) string { return classifyAddr(a).String() }

// Target is where a registry of a client points to with a Location.
func (c *Client) Target(host string, from *url.URL, location string) (*url.URL, error) {
	return c.target(c.hostOf(host), from, location)
}

// Parts makes a client read every blob in parts of a size over so many further
// connections, once it has read a part over one, however fast that is.
func (c *Client) ForceRanges(size int64, lanes int) {
	c.ranges.from, c.ranges.trial, c.ranges.part, c.ranges.lanes = 1, size, size, lanes
	c.ranges.enough = math.Inf(1)
}

// UsedBuffers returns how many buffers for parts of all hosts are in use.
func (c *Client) UsedBuffers() (used int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hosts {
		used += maxBuffers - len(h.parts.free)
	}
	return used
}

// InOnePatch makes a client send the blobs for a host in one PATCH each.
func (c *Client) ForceStreamed(host string) { c.hostOf(host).seen.refusedWay(monolithic, 1) }

// InChunks makes a client send the blobs for a host in chunks of a size, which
// is not less than SmallestChunk.
func (c *Client) ForceChunked(host string, size int64) {
	c.ForceStreamed(host)
	c.hostOf(host).seen.refusedWay(streamed, 1)
	c.hostOf(host).seen.refusedWay(chunked, 2*size)
}

// MaxHops and the others are limits that tests go up to.
const (
	MaxRedirects         = maxHops
	SmallestChunk        = smallestChunk
	MaxPages             = maxPages
	MaxTags              = maxTags
	MaxResumes           = maxResumes
	MaxBuffers           = maxBuffers
	MaxRememberedSecrets = maxShown
	HeadSize             = headSize
)

// Shown is how many secrets a repository remembers to have sent.
func RememberedSecrets(r registry.Repository) int {
	repo, ok := r.(*repository)
	if !ok {
		return -1
	}
	repo.mu.Lock()
	defer repo.mu.Unlock()
	return len(repo.shown)
}
