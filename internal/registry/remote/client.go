// Package remote implements registry.Repository over HTTP, according to the OCI
// distribution specification.
//
// Each security-sensitive step happens in one place: attempt adds the credential to a
// request, redirectTransports allows or rejects requests to another origin,
// registry.ReadLimited reads a body into memory, and responseError converts a registry's
// message into an error.
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

// Access describes the use of a Repository. It determines the scopes of the requested
// tokens, so that one token covers a whole copy.
type Access int

const (
	// Pull allows reading.
	Pull Access = iota
	// Push allows reading and writing.
	Push
)

// Client creates repositories that are accessed over HTTP. It owns the state of each host
// (limits, connections, tokens, capabilities) for its whole lifetime, so that a process
// needs only one.
type Client struct {
	options           Options
	settings          Hosts
	credentials       *auth.Store
	dialer            dialer
	redirects         *redirectTransports
	proxies           *proxies
	loggedCredentials warningDedup // credentials that were logged
	ranges            ranges
	headBuffers       buffers
	addresses         addressCache

	mu    sync.Mutex
	hosts map[string]*host // keyed by canonical host
}

// New returns a Client. It returns an error that names the option if an option is invalid.
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

// Logger returns the configured logger, or one that discards everything.
func (c *Client) Logger() *slog.Logger { return c.options.Logger }

// configure adds the settings of a host. It validates them, so that errors are found before
// a copy starts.
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
	if rate := settings.RequestsPerSecond; !(rate >= 0) || math.IsInf(rate, 0) { // NaN fails the comparison
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

func orDefault[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// Repository returns the repository that ref names. It sends no request.
func (c *Client) Repository(ref registry.Reference, access Access) registry.Repository {
	return &repository{client: c, host: c.hostOf(ref.Host), refHost: ref.Host, path: ref.Repository, access: access}
}

// PlainHTTP reports whether the client uses plain HTTP for a host, written as in
// references. It sends no request.
func (c *Client) PlainHTTP(host string) bool { return c.hostOf(host).origin.Scheme == "http" }

// settingsOf returns the settings for the host of u and their key. The key is "" if no
// settings match. The default port of the scheme may be included or omitted.
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
