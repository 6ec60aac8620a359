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

// errProxy reports that a proxy setting is not a valid URL. It does not quote the setting,
// which may contain a password.
var errProxy = errors.New("the proxy that the environment names (HTTPS_PROXY, HTTP_PROXY) cannot be used: it is not a URL")

// proxies finds proxies and remembers the logins of those that it found. A proxy that fails
// may echo its login in any response.
type proxies struct {
	find func(*http.Request) (*url.URL, error)

	mu     sync.Mutex
	users  []url.Userinfo
	logins []auth.Secret
}

// proxyFor returns the proxy for a request. It returns an error if the proxy setting is not
// a valid URL. If a special character of the password is not escaped, a part of the
// password becomes the host or path of the URL.
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

// sentLogins returns the logins of all proxies found so far.
func (p *proxies) sentLogins() []auth.Secret {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clip(p.logins)
}

func isProxy(u *url.URL) bool {
	return slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) && u.Hostname() != "" && !strings.HasSuffix(u.Host, ":") &&
		u.Opaque == "" && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == ""
}

// environmentProxy returns a function that finds proxies in the current environment
// (HTTPS_PROXY, HTTP_PROXY, NO_PROXY). It replaces a malformed variable with an invalid
// proxy, because httpproxy would ignore the variable and connect directly.
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
