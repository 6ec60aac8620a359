// Package remote is a registry.Repository over HTTP, after the OCI distribution
// specification.
//
// A request gets its credential in one place (attempt), a hop to another origin
// is allowed or refused in one place (hops), a body is read into memory in one
// place (registry.ReadLimited), and a registry's words become an error in one
// place (answerError).
package remote

import (
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"sync"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// Access is what a Repository will be used for. It decides the scopes of the
// tokens that are asked for, so that one token serves a whole copy.
type Access int

const (
	// Pull reads.
	Pull Access = iota
	// Push reads and writes.
	Push
)

// Client gives repositories over HTTP. It owns what is known of each host
// (limits, connections, tokens, what it was seen to do) for as long as it
// lives, so that a process needs one.
type Client struct {
	options           Options
	settings          Hosts
	credentials       *auth.Store
	dialer            dialer
	redirects         *redirectTransports
	proxies           *proxies
	loggedCredentials warningDedup // the credentials that were logged
	ranges            ranges
	headBuffers       buffers
	addresses         addressCache

	mu    sync.Mutex
	hosts map[string]*host // by canonical host
}

// New makes a Client. The error says which option cannot be used.
func New(o Options) (*Client, error) {
	o.MaxManifestBytes = orDefault(o.MaxManifestBytes, 4<<20)
	o.Attempts = orDefault(o.Attempts, 6)
	o.Backoff = orDefault(o.Backoff, 250*time.Millisecond)
	o.StallTimeout = orDefault(o.StallTimeout, time.Minute)
	o.HeaderTimeout = orDefault(o.HeaderTimeout, time.Minute)
	o.UserAgent = orDefault(o.UserAgent, "terraform-provider-registry")
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Memory == nil {
		o.Memory = registry.NewMemory(registry.DefaultManifestMemory)
	}
	if o.Proxy == nil {
		o.Proxy = environmentProxy()
	}
	p := &proxies{find: o.Proxy}
	o.Proxy = p.proxyFor
	if err := o.validate(); err != nil {
		return nil, err
	}
	c := &Client{options: o, settings: Hosts{}, proxies: p, dialer: newDialer(o), ranges: newRanges(), headBuffers: newBuffers(maxHeads), hosts: map[string]*host{}}
	c.redirects = newRedirectTransports(c)
	for name, settings := range o.Hosts {
		if err := c.configure(name, settings); err != nil {
			return nil, err
		}
	}
	if host := c.settings.duplicate(); host != "" {
		return nil, duplicateSettings(host)
	}
	o.Credentials.CanonicalHost = c.CanonicalHost
	var err error
	if c.credentials, err = auth.NewStore(o.Credentials); err != nil {
		return nil, err
	}
	return c, nil
}

// Logger returns the logger of the options, or one that discards everything.
func (c *Client) Logger() *slog.Logger { return c.options.Logger }

// configure takes the settings of a host. What cannot work is found here and
// not in mid copy.
func (c *Client) configure(name string, settings HostOptions) error {
	normal, err := registry.ParseReference(name + "/any")
	if err != nil || normal.Repository != "any" && normal.Repository != "library/any" {
		return fmt.Errorf("%q is not a registry host: write host or host:port", registry.RedactInput(name))
	}
	if _, twice := c.settings[normal.Host]; twice {
		return duplicateSettings(normal.Host)
	}
	if n := settings.MaxConcurrentRequests; n != 0 && n < 2 {
		return fmt.Errorf("%d concurrent requests for %s are too few: a blob that moves within one host is read and written at once, so at least 2", n, name)
	}
	if rate := settings.RequestsPerSecond; !(rate >= 0) || math.IsInf(rate, 0) { // not a number is neither
		return fmt.Errorf("%g requests per second for %s make no sense: at least 0, which means no limit", rate, name)
	}
	if _, err := tlsConfigOf(name, settings); err != nil {
		return err
	}
	c.settings[normal.Host] = settings
	return nil
}

func duplicateSettings(host string) error {
	return fmt.Errorf("there are two settings for the host %s", host)
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Repository returns the repository that ref is in. It asks nothing.
func (c *Client) Repository(ref registry.Reference, access Access) registry.Repository {
	return &repository{client: c, host: c.hostOf(ref.Host), refHost: ref.Host, path: ref.Repository, access: access}
}

// PlainHTTP says whether a host, as in references, is spoken to in plain HTTP.
// It asks nothing.
func (c *Client) PlainHTTP(host string) bool { return c.hostOf(host).origin.Scheme == "http" }

// settingsOf finds the settings of the host that a URL is at, with the name
// they were given under, which is "" where there are none. The scheme's own port
// may be spelled out or not.
func (c *Client) settingsOf(u *url.URL) (name string, settings HostOptions) {
	name, port := registry.Endpoint(u)
	withPort := registry.JoinPort(name, port)
	if settings, found := c.settings[withPort]; found {
		return withPort, settings
	}
	if settings, found := c.settings[name]; found && port == registry.DefaultPort(u.Scheme) {
		return name, settings
	}
	return "", HostOptions{}
}
