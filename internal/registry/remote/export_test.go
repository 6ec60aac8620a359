package remote

import (
	"math"
	"net/netip"
	"net/url"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// HeldSlots returns the number of slots in use across all hosts.
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

// Allowed returns how many requests a host may currently have in flight.
func (c *Client) Allowed(host string) int {
	l := c.hostOf(host).limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.allowed
}

// AddrScope returns the name of the scope of an address.
func AddrScope(a netip.Addr) string { return classifyAddr(a).String() }

// Target resolves a Location that the registry sent in response to a request for from.
func (c *Client) Target(host string, from *url.URL, location string) (*url.URL, error) {
	return c.target(c.hostOf(host), from, location)
}

// ForceRanges makes the client read every blob in ranges of the given size, over the given
// number of additional connections. It does so after it has read one range, however fast
// the connection is.
func (c *Client) ForceRanges(size int64, lanes int) {
	c.ranges.from, c.ranges.probeBytes, c.ranges.part, c.ranges.maxWorkers = 1, size, size, lanes
	c.ranges.enough = math.Inf(1)
}

// UsedBuffers returns how many range buffers of all hosts are in use.
func (c *Client) UsedBuffers() (used int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hosts {
		used += maxBuffers - len(h.partBuffers.free)
	}
	return used
}

// ForceStreamed makes the client upload every blob for the host with a single PATCH.
func (c *Client) ForceStreamed(host string) {
	c.hostOf(host).capabilities.recordRejectedMode(monolithic, 1)
}

// ForceChunked makes the client upload blobs for the host in chunks of the given size,
// which must be at least SmallestChunk.
func (c *Client) ForceChunked(host string, size int64) {
	c.ForceStreamed(host)
	c.hostOf(host).capabilities.recordRejectedMode(streamed, 1)
	c.hostOf(host).capabilities.recordRejectedMode(chunked, 2*size)
}

// Limits that tests reach.
const (
	MaxRedirects         = maxRedirects
	SmallestChunk        = smallestChunk
	MaxPages             = maxPages
	MaxTags              = maxTags
	MaxResumes           = maxResumes
	MaxBuffers           = maxBuffers
	MaxRememberedSecrets = maxSentCredentials
	HeadSize             = headSize
)

// RememberedSecrets returns how many sent secrets the repository remembers for redaction.
func RememberedSecrets(r registry.Repository) int {
	repo, ok := r.(*repository)
	if !ok {
		return -1
	}
	repo.mu.Lock()
	defer repo.mu.Unlock()
	return len(repo.sentCredentials)
}
