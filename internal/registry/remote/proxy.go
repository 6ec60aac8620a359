package remote

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// errProxy is a proxy that cannot be one. What it was found in is not quoted:
// proxies are given with passwords in them.
var errProxy = errors.New("the proxy that the environment names (HTTPS_PROXY, HTTP_PROXY) cannot be used: it is not a URL")

// wellFormedProxy finds the same proxy, and an error where it is none: a
// password with a character that has to be escaped makes a URL of something
// else, whose host or path has the password in it.
func wellFormedProxy(proxy func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	return func(req *http.Request) (*url.URL, error) {
		u, err := proxy(req)
		if err != nil || u != nil && !isProxy(u) {
			return nil, permanent{errProxy}
		}
		return u, nil
	}
}

func isProxy(u *url.URL) bool {
	return slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) && u.Hostname() != "" && !strings.HasSuffix(u.Host, ":") &&
		u.Opaque == "" && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == ""
}

// proxyLogin is what the proxy for a URL is shown to prove who asks; nothing where
// it wants no login. A proxy that fails may repeat it.
func (c *Client) proxyLogin(u *url.URL) []auth.Secret {
	proxy, err := c.options.Proxy(&http.Request{URL: u})
	if err != nil || proxy == nil || proxy.User == nil {
		return nil
	}
	password, _ := proxy.User.Password()
	return auth.Credential{Username: proxy.User.Username(), Password: auth.Secret(password)}.Secrets()
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
