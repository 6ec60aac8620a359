// Package remote is a registry.Repository over HTTP, after the OCI distribution
// specification.
//
// A request gets its credential in one place (attempt), a hop to another origin
// is allowed or refused in one place (hops), a body is read into memory in one
// place (readCapped), and a registry's words become an error in one place
// (answerError).
package remote

import (
	"context"
	"fmt"
	"log/slog"
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
	options     Options
	settings    map[string]HostOptions // by normal host
	credentials *auth.Store
	dialer      dialer
	hops        *hops
	warned      sync.Map // warnings that were given, each once

	mu    sync.Mutex
	hosts map[string]*host
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
	credentials, err := auth.NewStore(o.Credentials)
	if err != nil {
		return nil, err
	}
	c := &Client{options: o, settings: map[string]HostOptions{}, credentials: credentials, dialer: newDialer(o), hosts: map[string]*host{}}
	c.hops = newHops(c.dialer)
	for name, settings := range o.Hosts {
		normal, err := registry.ParseReference(name + "/any")
		if err != nil || normal.Repository != "any" && normal.Repository != "library/any" {
			return nil, fmt.Errorf("%q is not a registry host: write host or host:port", registry.Clean(name))
		}
		if n := settings.MaxConcurrentRequests; n != 0 && n < 2 {
			return nil, fmt.Errorf("%d concurrent requests for %s are too few: a blob that moves within one host is read and written at once, so at least 2", n, name)
		}
		// What cannot work is found here and not in mid copy.
		if _, err := tlsConfigOf(name, settings); err != nil {
			return nil, err
		}
		c.settings[normal.Host] = settings
	}
	return c, nil
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
	return &repository{client: c, host: c.hostOf(ref.Host), path: ref.Repository, access: access}
}

func (c *Client) hostOf(name string) *host {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.hosts[name]
	if !ok {
		h = newHost(c, name, c.settings[name])
		c.hosts[name] = h
	}
	return h
}

// warn tells the operation at hand what a registry wants people to know, once
// for the life of the client.
func (c *Client) warn(ctx context.Context, format string, args ...any) {
	warning := registry.Clean(fmt.Sprintf(format, args...))
	if _, given := c.warned.LoadOrStore(warning, true); !given {
		registry.TraceOf(ctx).Warning(warning)
	}
}
