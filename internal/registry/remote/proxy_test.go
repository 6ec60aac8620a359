package remote_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

func TestProxy_ForbiddenRedirectByName(t *testing.T) {
	for name, rc := range redirectCases {
		for _, host := range []string{
			"169.254.169.254", "[::ffff:a9fe:a9fe]", "[fd00:ec2::254]", "10.0.0.1", "127.0.0.1", "[::1]", "localhost", "app.localhost", "LOCALHOST.",
			"2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1.", "0xa9.254.0xa9fe", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "a.0x7f",
			"0.0.0.0", "168.63.129.16",
			// Characters that net/http converts to ASCII.
			"１６９.２５４.１６９.２５４", "169。254。169。254", "①②⑦.0.0.1", "ｌｏｃａｌｈｏｓｔ", "app.𝗅ocalhost", "１２７.1", "10．0．0．1", "a／b.example.net",
		} {
			t.Run(name+"_at_"+host, func(t *testing.T) {
				n, proxied := newFakeNetwork(t), []string{}
				proxy := n.proxy(t, &proxied)
				n.serve(t, "registry.example.com", registryAddress, rc.to("https://"+host+"/latest/meta-data"))
				c := newClient(t, n.options, withRegistryLogin, settings(n.trustedHosts("registry.example.com")), withProxy(proxy))
				assertErrorKind(t, rc.do(t.Context(), c.push(t, "registry.example.com/app")), registry.ErrForbiddenRedirect)
				if !slices.Equal(proxied, []string{"registry.example.com:443"}) {
					t.Errorf("hosts requested from the proxy = %s, want only the registry", proxied)
				}
			})
		}
	}
}

func TestProxy_RegistryAndRedirect(t *testing.T) {
	n, proxied := newFakeNetwork(t), []string{}
	proxy := n.proxy(t, &proxied)
	cdn := &foreignHost{t: t, handler: serveBlob("content")}
	n.serve(t, "cdn.example.net", otherAddress, cdn.ServeHTTP)
	n.serve(t, "registry.example.com", registryAddress, redirect("https://cdn.example.net/blob"))
	hosts := n.trustedHosts("registry.example.com", "cdn.example.net")
	c := newClient(t, n.options, settings(hosts), withProxy(proxy))
	if _, err := readAll(t, c.pull(t, "registry.example.com/app"), descriptor("content")); err != nil {
		t.Error(err)
	}
	if !slices.Equal(proxied, []string{"registry.example.com:443", "cdn.example.net:443"}) {
		t.Errorf("hosts requested from the proxy = %s, want the registry and the CDN", proxied)
	}
	if !slices.Equal(n.dials(), []string{proxyAddress, proxyAddress}) {
		t.Errorf("dialed addresses = %s, want only the proxy", n.dials())
	}
}

func TestProxy_Environment(t *testing.T) {
	for name, test := range map[string]struct {
		env     map[string]string
		host    string
		proxied []string
	}{
		"https_proxy_upper_case": {map[string]string{"HTTPS_PROXY": "proxy"}, "tls.example.com", []string{"tls.example.com:443"}},
		"https_proxy_lower_case": {map[string]string{"https_proxy": "proxy"}, "tls.example.com", []string{"tls.example.com:443"}},
		"http_proxy":             {map[string]string{"HTTP_PROXY": "proxy"}, "plain.example.com", []string{"plain.example.com"}},
		"other_scheme":           {map[string]string{"HTTP_PROXY": "proxy"}, "tls.example.com", nil},
		"no_proxy_host":          {map[string]string{"HTTPS_PROXY": "proxy", "NO_PROXY": "x.example.net,tls.example.com"}, "tls.example.com", nil},
		"no_proxy_domain":        {map[string]string{"HTTP_PROXY": "proxy", "NO_PROXY": ".example.com"}, "plain.example.com", nil},
		"no_proxy_other_host":    {map[string]string{"HTTPS_PROXY": "proxy", "NO_PROXY": "example.net"}, "tls.example.com", []string{"tls.example.com:443"}},
	} {
		t.Run(name, func(t *testing.T) {
			var proxied []string
			n, registry := newFakeNetwork(t), &foreignHost{t: t, handler: serveManifest}
			proxy := n.proxy(t, &proxied)
			for _, variable := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"} {
				t.Setenv(variable, strings.Replace(test.env[variable], "proxy", proxy.String(), 1))
			}
			n.serve(t, "tls.example.com", registryAddress, registry.ServeHTTP)
			n.name("plain.example.com", otherAddress)
			n.at(otherAddress+":80", address(servePlain(t, registry.ServeHTTP)))
			hosts, yes := n.trustedHosts("tls.example.com"), true
			hosts["plain.example.com"] = remote.HostOptions{PlainHTTP: &yes}
			c := newClient(t, n.options, settings(hosts), func(o *remote.Options) { o.Proxy = nil })
			if _, err := c.pull(t, test.host+"/app").GetManifest(t.Context(), "1"); err != nil {
				t.Fatal(err)
			}
			if direct := !slices.Contains(n.dials(), proxyAddress); !slices.Equal(proxied, test.proxied) || direct != (len(test.proxied) == 0) {
				t.Errorf("hosts requested from the proxy = %s, dialed addresses = %s, want %s through the proxy", proxied, n.dials(), test.proxied)
			}
		})
	}
}

// A redirect can lead from a host that is reached through a proxy to one that is not. The
// password of the proxy must not go there.
func TestProxy_DirectRedirect(t *testing.T) {
	n, proxied := newFakeNetwork(t), []string{}
	proxy := n.proxy(t, &proxied)
	n.serve(t, "registry.example.com", registryAddress, redirect("https://cdn.example.net/blob"))
	cdn := &foreignHost{t: t, handler: serveBlob("content")}
	n.serve(t, "cdn.example.net", otherAddress, cdn.ServeHTTP)
	c := newClient(t, n.options, settings(n.trustedHosts("registry.example.com", "cdn.example.net")), func(o *remote.Options) {
		o.Proxy = func(r *http.Request) (*url.URL, error) {
			if r.URL.Host == "cdn.example.net" {
				return nil, nil
			}
			return proxy, nil
		}
	})
	if _, err := readAll(t, c.pull(t, "registry.example.com/app"), descriptor("content")); err != nil {
		t.Fatal(err)
	}
	if dials := n.dials(); !slices.Equal(dials, []string{proxyAddress, otherAddress + ":443"}) || cdn.requestCount() != 1 {
		t.Errorf("dialed addresses = %s, want the proxy and the CDN", dials)
	}
}

// A proxy with TLS is a host of its own: the TLS options of a registry, including its
// client certificate, do not apply to the proxy.
func TestProxy_TLSOptions(t *testing.T) {
	n := newFakeNetwork(t)
	client, key := encodePEM(t, n.authority.issue(t, "ci"))
	for name, test := range map[string]struct {
		registry, proxy remote.HostOptions
		trusted         bool
	}{
		"registry_insecure_skip_tls_verify": {remote.HostOptions{InsecureSkipTLSVerify: true}, remote.HostOptions{}, false},
		"registry_ca":                       {remote.HostOptions{CACertificate: n.authority.pem}, remote.HostOptions{}, false},
		"proxy_ca": {
			remote.HostOptions{CACertificate: n.authority.pem, ClientCertificate: client, ClientKey: auth.Secret(key)},
			remote.HostOptions{CACertificate: n.authority.pem}, true,
		},
	} {
		for target, handler := range map[string]http.HandlerFunc{"registry.example.com": serveBlob("content"), "cdn.example.net": redirect("https://cdn.example.net/blob")} {
			t.Run(name+"_to_"+target, func(t *testing.T) {
				var requests, certificates atomic.Int32
				proxy := n.serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					certificates.Add(int32(len(r.TLS.PeerCertificates)))
					tunnel(r.Context(), t, w, n.behind(r.Context(), r.Host))
				}, "proxy.example.net")
				proxy.TLS.ClientAuth = tls.RequestClientCert
				n.name("proxy.example.net", "10.9.9.9")
				n.at("10.9.9.9:3129", address(proxy))
				n.serve(t, "cdn.example.net", otherAddress, serveBlob("content"))
				n.serve(t, "registry.example.com", registryAddress, handler)
				hosts := n.trustedHosts("registry.example.com")
				hosts[target], hosts["proxy.example.net:3129"] = test.registry, test.proxy
				c := newClient(t, n.options, settings(hosts), func(o *remote.Options) {
					o.Proxy = func(r *http.Request) (*url.URL, error) {
						if r.URL.Host != target {
							return nil, nil
						}
						return &url.URL{Scheme: "https", Host: "proxy.example.net:3129", User: url.UserPassword("ci", canary)}, nil
					}
				})
				err := drain(c.context(t), c.pull(t, "registry.example.com/app"), descriptor("content"))
				if sent, _ := c.sent(); sent > 2 {
					t.Errorf("requests = %d, want no retry", sent)
				}
				if test.trusted && err != nil {
					t.Fatal(err)
				}
				if !test.trusted {
					e := assertErrorKind(t, err, registry.ErrUnavailable)
					assertContains(t, e.Error(), "the proxy https://proxy.example.net:3129 cannot be reached", "unknown authority")
					assertContains(t, e.Hint, `registries = { "proxy.example.net:3129" = { ca_certificate = file("ca.pem") } }`)
				}
				if connected := requests.Load() > 0; connected != test.trusted || certificates.Load() > 0 {
					t.Errorf("requests to the proxy = %d, certificates sent to it = %d, want some requests: %t, and 0", requests.Load(), certificates.Load(), test.trusted)
				}
			})
		}
	}
}

func TestProxy_PrivateProxyAddress(t *testing.T) {
	// The proxy is at a private address. This must not allow the registry to redirect to
	// private addresses.
	n, proxied := newFakeNetwork(t), []string{}
	proxy := n.proxy(t, &proxied)
	n.serve(t, "registry.example.com", registryAddress, redirect("https://10.0.0.1/blob"))
	c := newClient(t, n.options, settings(n.trustedHosts("registry.example.com")), withProxy(proxy))
	_, err := readAll(t, c.pull(t, "registry.example.com/app"), descriptor("content"))
	assertErrorKind(t, err, registry.ErrForbiddenRedirect)
}

func TestProxy_InvalidURL(t *testing.T) {
	c := newClient(t, func(o *remote.Options) {
		o.Proxy = func(*http.Request) (*url.URL, error) {
			return nil, fmt.Errorf("invalid proxy address %q", "http://ci:"+canary+"@proxy:x")
		}
	})
	_, err := c.pull(t, "registry.example.com/app").GetManifest(c.context(t), "1")
	assertContains(t, assertErrorKind(t, err, registry.ErrUnavailable).Hint, "http://host:port")
	if sent, _ := c.sent(); sent != 1 {
		t.Errorf("attempts = %d, want 1", sent)
	}
}

// An unescaped special character in a password changes how the proxy URL is parsed. The
// client must neither display the parsed proxy nor bypass the proxy.
func TestProxy_UnescapedPassword(t *testing.T) {
	for _, character := range []string{"#", "/", "?", "[", "\\", " ", "^", "\"", "%", "@:x"} {
		for _, user := range []string{"http://ci:" + canary, "ci:" + canary, "http://ci:123"} {
			t.Setenv("HTTPS_PROXY", user+character+canary+"@10.9.9.9:3128")
			t.Setenv("NO_PROXY", "direct.example.com")
			n := newFakeNetwork(t)
			c := newClient(t, n.options, func(o *remote.Options) { o.Proxy = nil })
			_, err := c.pull(t, "registry.example.com/app").Resolve(c.context(t), "1")
			assertContains(t, assertErrorKind(t, err, registry.ErrUnavailable).Hint, "special characters")
			if dialed := n.dials(); len(dialed) > 0 {
				t.Errorf("%s: dialed addresses = %s, want none", character, dialed)
			}
			_, err = c.pull(t, "direct.example.com/app").Resolve(c.context(t), "1")
			if err == nil || strings.Contains(err.Error(), "proxy") {
				t.Errorf("%s: error of the direct request = %v, want none about the proxy", character, err)
			}
		}
	}
}

func TestProxy_FailureNamesProxy(t *testing.T) {
	yes := true
	for name, test := range map[string]struct {
		scheme  string
		refuses int // status of the proxy's response; 0 if there is no proxy
		message string
		hint    string
		sent    int
	}{
		"proxy_down":            {"https", 0, "the proxy http://10.9.9.9:3128 cannot be reached: ", "HTTPS_PROXY", 2},
		"proxy_down_plain_http": {"http", 0, "the proxy http://10.9.9.9:3128 cannot be reached: ", "HTTP_PROXY", 2},
		"connect_forbidden":     {"https", http.StatusForbidden, "the proxy http://10.9.9.9:3128 does not let it through: HTTP 403 Forbidden", "HTTPS_PROXY", 1},
		"login_rejected":        {"https", http.StatusProxyAuthRequired, "does not let it through: HTTP 407 Proxy Authentication Required", "its login", 1},
		"bad_gateway":           {"https", http.StatusBadGateway, "does not let it through: HTTP 502 Bad Gateway", "HTTPS_PROXY", 2},
	} {
		t.Run(name, func(t *testing.T) {
			n := newFakeNetwork(t)
			if test.refuses != 0 {
				n.at(proxyAddress, address(serveFixed(t, test.refuses, "text/html", "<html>")))
			}
			hosts := map[string]remote.HostOptions{}
			if test.scheme == "http" {
				hosts["registry.example.com"] = remote.HostOptions{PlainHTTP: &yes}
			}
			proxy := &url.URL{Scheme: "http", Host: proxyAddress, User: url.UserPassword("ci", canary)}
			c := newClient(t, n.options, settings(hosts), withProxy(proxy), func(o *remote.Options) { o.Attempts = 2 })
			_, err := c.pull(t, "registry.example.com/app").GetManifest(c.context(t), "1")
			e := assertErrorKind(t, err, registry.ErrUnavailable)
			assertContains(t, e.Error(), "registry.example.com/app: cannot read the manifest of the tag \"1\": the proxy ", test.message)
			assertContains(t, e.Hint, test.hint, "registry.example.com", "NO_PROXY")
			if sent, _ := c.sent(); sent != test.sent {
				t.Errorf("attempts = %d, want %d", sent, test.sent)
			}
		})
	}
}

// proxyAddress is the address of the proxy in these tests.
const proxyAddress = "10.9.9.9:3128"

// proxy starts a proxy that requires a password and records the requested hosts. The
// proxy, not the client, resolves host names. It responds to plain HTTP requests with a
// manifest.
func (n *fakeNetwork) proxy(t *testing.T, requested *[]string) *url.URL {
	t.Helper()
	server := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
		*requested = append(*requested, r.Host)
		if r.Header.Get("Proxy-Authorization") == "" {
			t.Errorf("the proxy received %s without its password", r.Method)
		}
		if r.Method != http.MethodConnect {
			serveManifest(w, r)
			return
		}
		tunnel(r.Context(), t, w, n.behind(r.Context(), r.Host))
	})
	n.at(proxyAddress, server.Listener.Addr().String())
	return &url.URL{Scheme: "http", Host: proxyAddress, User: url.UserPassword("ci", canary)}
}

// behind returns the listener that a proxy reaches at host:port, or "" if there is none.
func (n *fakeNetwork) behind(ctx context.Context, address string) string {
	host, port, _ := net.SplitHostPort(address)
	addrs, err := n.resolve(ctx, host)
	if err != nil {
		return ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.listeners[net.JoinHostPort(addrs[0].String(), port)]
}

// withProxy returns an option that sends every request through a proxy.
func withProxy(proxy *url.URL) func(*remote.Options) {
	return func(o *remote.Options) { o.Proxy = func(*http.Request) (*url.URL, error) { return proxy, nil } }
}
