package remote

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// host is one registry: where its API is, how it is spoken to, and what it was
// seen to do.
type host struct {
	name      string // as in references
	origin    *url.URL
	transport *http.Transport
	limiter   *limiter
	auth      *auth.Authorizer
	near      atomic.Int32 // the reach of the address that was connected to
	// challenged is set once the host has asked who asks. Until then nothing is
	// looked up and nothing sent.
	challenged atomic.Bool
	seen       seen
}

// apiHosts are registries whose API is not at the host of their references.
var apiHosts = map[string]string{registry.DockerHub: "registry-1.docker.io"}

// newHost makes a host of settings that New has checked.
func newHost(c *Client, name string, settings HostOptions) *host {
	h := &host{name: name, limiter: newLimiter(settings.MaxConcurrentRequests, settings.RequestsPerSecond)}
	h.origin = &url.URL{Scheme: "https", Host: name}
	if api, ok := apiHosts[name]; ok {
		h.origin.Host = api
	}
	if plain := settings.PlainHTTP; plain != nil && *plain || plain == nil && isLoopback(h.origin.Hostname()) {
		h.origin.Scheme = "http"
	}
	tlsConfig, err := tlsConfigOf(name, settings)
	if err != nil {
		panic(err) // New has made it once
	}
	h.transport = newTransport(func(ctx context.Context, network, address string) (net.Conn, error) {
		return c.dialer.dial(ctx, network, address, func(a netip.Addr) error {
			h.near.Store(int32(reachOf(a)))
			return nil
		})
	}, tlsConfig, h.limiter.max)
	h.transport.Proxy = http.ProxyFromEnvironment
	h.auth = auth.NewAuthorizer(auth.AuthorizerOptions{
		Host: name, Origin: h.origin, UserAgent: c.options.UserAgent, Now: c.options.Now, Logger: c.options.Logger,
		Send: func(req *http.Request) (*http.Response, error) { return c.sendToken(h, req) },
	})
	return h
}

// reach is how far the registry is. Behind a proxy it is not known, and the
// strictest is taken. A registry that is itself at a forbidden address, because
// somebody configured it so, may point at public ones alone.
func (h *host) reach() reach {
	if r := reach(h.near.Load()); r != forbidden {
		return r
	}
	return public
}

// isLoopback says whether a host name is this machine's by itself, without
// asking anybody: plain HTTP is the default there.
func isLoopback(hostname string) bool {
	if hostname == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(hostname)
	return err == nil && a.IsLoopback()
}

// seen is what a host was seen to do, remembered so that nothing is asked of it
// twice in vain.
type seen struct {
	mu    sync.Mutex
	mount mountHabit
	// refused counts, by the repository a blob was to be mounted from, how
	// often that was refused in a row.
	refused map[string]int
}

// mountHabit is how a host answers a request to mount what it has.
type mountHabit int

const (
	// mountUnknown: no answer so far told.
	mountUnknown mountHabit = iota
	// mountTruthful: it said 201 once, so that 202 means that the blob is not
	// there.
	mountTruthful
	// mountBlind: it does not mount; its 202 says nothing.
	mountBlind
)

// patience is how many refusals in a row it takes until a repository is no
// longer asked to be mounted from.
const patience = 2

func (s *seen) habit() mountHabit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mount
}

func (s *seen) setHabit(m mountHabit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// What was proved stays proved: a refusal for one blob does not make a
	// truthful host a blind one.
	if s.mount != mountTruthful {
		s.mount = m
	}
}

// mountable says whether mounting from one repository into another is still
// worth asking for.
func (s *seen) mountable(from, to string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused[from+" "+to] < patience
}

// mounted records the answer to a request to mount from one repository into
// another.
func (s *seen) mounted(from, to string, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		s.refused = map[string]int{}
	}
	if done {
		delete(s.refused, from+" "+to)
		return
	}
	s.refused[from+" "+to]++
}
