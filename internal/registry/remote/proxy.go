package remote

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/http/httpproxy"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// errProxy is a proxy that cannot be one. What it was found in is not quoted:
// proxies are given with passwords in them.
var errProxy = errors.New("the proxy that the environment names (HTTPS_PROXY, HTTP_PROXY) cannot be used: it is not a URL")

// proxies finds proxies, and remembers how it logs in to those that it has found: a
// proxy that fails may repeat that, whatever was asked for through it.
type proxies struct {
	find func(*http.Request) (*url.URL, error)

	mu     sync.Mutex
	users  []url.Userinfo
	logins []auth.Secret
}

// of finds the proxy for a request, and an error where it is none: a password with
// a character that has to be escaped makes a URL of something else, whose host or
// path has the password in it.
func (p *proxies) proxyFor(req *http.Request) (*url.URL, error) {
	u, err := p.find(req)
	if err != nil || u != nil && !isProxy(u) {
		return nil, permanent{errProxy}
	}
	if u != nil && u.User != nil {
		p.remember(*u.User)
	}
	return u, nil
}

func (p *proxies) remember(user url.Userinfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.users, user) {
		password, _ := user.Password()
		p.users = append(p.users, user)
		p.logins = append(p.logins, auth.Credential{Username: user.Username(), Password: auth.Secret(password)}.Secrets()...)
	}
}

// shown is what proxies were shown so far to prove who asks.
func (p *proxies) sentLogins() []auth.Secret {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clip(p.logins)
}

func isProxy(u *url.URL) bool {
	return slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) && u.Hostname() != "" && !strings.HasSuffix(u.Host, ":") &&
		u.Opaque == "" && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == ""
}

// environmentProxy finds proxies as the environment is now (HTTPS_PROXY,
// HTTP_PROXY, NO_PROXY). Of a variable that cannot be read it makes a proxy that
// is none, because the package that knows them would go past the proxy.
func environmentProxy() func(*http.Request) (*url.URL, error) {
	config := httpproxy.FromEnvironment()
	for _, variable := range []*string{&config.HTTPSProxy, &config.HTTPProxy} {
		if _, err := url.Parse(*variable); err == nil {
			continue
		}
		if _, err := url.Parse("http://" + *variable); err != nil {
			*variable = "unreadable://proxy"
		}
	}
	find := config.ProxyFunc()
	return func(req *http.Request) (*url.URL, error) { return find(req.URL) }
}
