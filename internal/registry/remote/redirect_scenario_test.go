package remote_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// Addresses of registry.example.com and of another host.
const (
	registryAddress = "203.0.113.1"
	otherAddress    = "203.0.113.2"
)

// requireLogin wraps handler with Basic authentication. The password must be the canary.
func requireLogin(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != canary {
			w.Header().Set("WWW-Authenticate", "BASIC realm=x")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler(w, r)
	}
}

// foreignHost is a host that must never receive a secret. It records its requests.
type foreignHost struct {
	t       *testing.T
	handler http.HandlerFunc

	mu       sync.Mutex
	requests []*http.Request
}

func (o *foreignHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie", "Referer"} {
		if value := r.Header.Get(name); value != "" {
			o.t.Errorf("%s %s%s was sent with %s", r.Method, r.Host, r.URL.Path, name)
		}
	}
	assertNoSecret(o.t, "request", fmt.Sprint(r.URL, r.Header))
	o.mu.Lock()
	o.requests = append(o.requests, r)
	o.mu.Unlock()
	o.handler(w, r)
}

func (o *foreignHost) requestCount() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.requests)
}

// serveBlob returns a handler that responds with content.
func serveBlob(content string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, content) }
}

func redirect(location string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

// withRegistryLogin sets the credentials for registry.example.com.
func withRegistryLogin(o *remote.Options) {
	o.Credentials.Registries = map[string]auth.Credential{"registry.example.com": {Username: "ci", Password: canary}}
}

func TestRedirect_DropsCredentials(t *testing.T) {
	for name, target := range map[string]string{
		"other_host": "cdn.example.net",
		"subdomain":  "cdn.registry.example.com",
		"other_port": "registry.example.com:8443",
	} {
		t.Run(name, func(t *testing.T) {
			n := newFakeNetwork(t)
			n.serve(t, "registry.example.com", registryAddress, requireLogin(redirect("https://"+target+"/blob?X-Amz-Signature=signature")))
			cdn := &foreignHost{t: t}
			cdn.handler = func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("X-Amz-Signature") != "signature" {
					t.Error("the query of the redirect is missing")
				}
				_, _ = io.WriteString(w, "content")
			}
			if host, port, found := strings.Cut(target, ":"); found {
				n.at(net.JoinHostPort(registryAddress, port), n.serveTLS(t, cdn.ServeHTTP, host).Listener.Addr().String())
			} else {
				n.serve(t, target, otherAddress, cdn.ServeHTTP)
			}
			c := newClient(t, n.options, withRegistryLogin, settings(n.trustedHosts("registry.example.com", target)))
			got, err := readAll(t, c.pull(t, "registry.example.com/app"), descriptor("content"))
			if err != nil || got != "content" {
				t.Fatalf("GetBlob() read %q, %v; want %q", got, err, "content")
			}
			if cdn.requestCount() != 1 {
				t.Errorf("requests to the other host = %d, want 1", cdn.requestCount())
			}
		})
	}
}

func TestRedirect_PlainHTTPFromTLS(t *testing.T) {
	for kind, rc := range redirectCases {
		for name, target := range map[string]string{
			"other_host":      "http://cdn.example.net/blob",
			"subdomain":       "http://cdn.registry.example.com/blob",
			"other_port":      "http://registry.example.com:8080/blob",
			"plain_http_host": "http://plain.example.net/blob",
			"other_scheme":    "ftp://cdn.example.net/blob",
			"file":            "file:///etc/passwd",
		} {
			t.Run(kind+"_to_"+name, func(t *testing.T) {
				n := newFakeNetwork(t)
				n.serve(t, "registry.example.com", registryAddress, rc.to(target+"?sig="+url.QueryEscape(canary)))
				for _, host := range []string{"cdn.example.net", "cdn.registry.example.com", "plain.example.net"} {
					n.name(host, otherAddress)
				}
				hosts := n.trustedHosts("registry.example.com")
				yes := true
				hosts["plain.example.net"] = remote.HostOptions{PlainHTTP: &yes}
				c := newClient(t, n.options, withRegistryLogin, settings(hosts))
				assertErrorKind(t, rc.do(t.Context(), c.push(t, "registry.example.com/app")), registry.ErrForbiddenRedirect)
				for _, address := range n.dials() {
					if address != registryAddress+":443" {
						t.Errorf("dialed address = %s, want only the registry", address)
					}
				}
			})
		}
	}
}

// The registry redirects to a host with TLS, which redirects to plain HTTP.
func TestRedirect_PlainHTTPOnSecondRedirect(t *testing.T) {
	n := newFakeNetwork(t)
	yes := true
	n.name("plain.example.com", registryAddress)
	n.at(registryAddress+":80", address(servePlain(t, redirect("https://cdn.example.net/blob"))))
	n.serve(t, "tls.example.com", "203.0.113.3", redirect("https://cdn.example.net/blob"))
	cdn := &foreignHost{t: t, handler: redirect("http://plain.example.com/blob")}
	n.serve(t, "cdn.example.net", otherAddress, cdn.ServeHTTP)
	hosts := n.trustedHosts("tls.example.com", "cdn.example.net")
	hosts["plain.example.com"] = remote.HostOptions{PlainHTTP: &yes}
	c := newClient(t, n.options, settings(hosts))
	for _, host := range []string{"tls.example.com", "plain.example.com"} {
		_, err := readAll(t, c.pull(t, host+"/app"), descriptor("content"))
		assertContains(t, assertErrorKind(t, err, registry.ErrForbiddenRedirect).Error(), "from https to http")
	}
	if cdn.requestCount() != 2 {
		t.Errorf("requests to the host in between = %d, want 2", cdn.requestCount())
	}
}

func TestRedirect_InvalidLocation(t *testing.T) {
	for location, want := range map[string]error{"": registry.ErrProtocol, "http://[::1": registry.ErrProtocol, "https:///blob": registry.ErrForbiddenRedirect} {
		_, err := readAll(t, newClient(t).pull(t, address(servePlain(t, redirect(location)))+"/app"), descriptor("content"))
		assertErrorKind(t, err, want)
	}
}

// A redirect from plain HTTP to TLS changes the origin, even on the same host and the same
// port.
func TestRedirect_TLSFromPlainHTTP(t *testing.T) {
	for _, host := range []string{"registry.example.com", "registry.example.com:5000"} {
		n := newFakeNetwork(t)
		target := &foreignHost{t: t, handler: serveBlob("content")}
		tls := address(n.serveTLS(t, target.ServeHTTP, "registry.example.com"))
		n.name("registry.example.com", registryAddress)
		n.at(registryAddress+":443", tls)
		for _, port := range []string{":80", ":5000"} {
			n.at(registryAddress+port, address(servePlain(t, requireLogin(func(w http.ResponseWriter, r *http.Request) {
				n.at(registryAddress+":5000", tls)
				redirect("https://"+host+"/blob")(w, r)
			}))))
		}
		yes := true
		c := newClient(t, n.options, credentials(map[string]auth.Credential{host: {Username: "ci", Password: canary}}),
			settings(map[string]remote.HostOptions{host: {PlainHTTP: &yes, CACertificate: n.authority.pem}}))
		if _, err := readAll(t, c.pull(t, host+"/app"), descriptor("content")); err != nil || target.requestCount() != 1 {
			t.Errorf("%s: requests to the target = %d, want 1; GetBlob() = %v", host, target.requestCount(), err)
		}
	}
}

func TestRedirect_RequestHeaders(t *testing.T) {
	put, pull := redirectCases["upload_location"], redirectCases["redirect"]
	for name, test := range map[string]struct {
		to   func(string) http.HandlerFunc
		do   func(context.Context, registry.Repository) error
		want []string
	}{
		"blob":     {pull.to, pull.do, []string{"Accept-Encoding", "User-Agent"}},
		"manifest": {pull.to, get, []string{"Accept", "Accept-Encoding", "User-Agent"}},
		"upload":   {put.to, put.do, []string{"Accept-Encoding", "Content-Length", "Content-Type", "User-Agent"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newFakeNetwork(t)
			handler := test.to("https://cdn.example.net/there")
			n.serve(t, "registry.example.com", registryAddress, func(w http.ResponseWriter, r *http.Request) {
				if cookies := r.Header.Get("Cookie"); cookies != "" {
					t.Errorf("the registry received the cookies %q, want none", cookies)
				}
				w.Header().Set("Set-Cookie", "session="+url.QueryEscape(canary)+"; Domain=example.net")
				w.Header().Set("X-Registry-Session", "1")
				handler(w, r)
			})
			cdn := &foreignHost{t: t, handler: func(w http.ResponseWriter, r *http.Request) {
				if got := slices.Sorted(maps.Keys(r.Header)); !slices.Equal(got, test.want) {
					t.Errorf("headers = %s, want %s", got, test.want)
				}
				w.Header().Set("Set-Cookie", "session=2")
				if r.Method == http.MethodPut {
					w.WriteHeader(http.StatusCreated)
					return
				}
				serveManifest(w, r)
			}}
			n.serve(t, "cdn.example.net", otherAddress, cdn.ServeHTTP)
			c := newClient(t, singleAttempt, n.options, withRegistryLogin, settings(n.trustedHosts("registry.example.com", "cdn.example.net")))
			for range 2 {
				_ = test.do(t.Context(), c.push(t, "registry.example.com/app")) // the result does not matter
			}
			if cdn.requestCount() < 2 {
				t.Errorf("requests to the other host = %d, want at least 2", cdn.requestCount())
			}
		})
	}
}

func TestRedirect_PlainHTTPOption(t *testing.T) {
	n := newFakeNetwork(t)
	cdn := &foreignHost{t: t, handler: serveBlob("content")}
	n.name("cdn.example.net", otherAddress)
	n.at(otherAddress+":80", servePlain(t, cdn.ServeHTTP).Listener.Addr().String())
	n.name("registry.example.com", registryAddress)
	n.at(registryAddress+":80", servePlain(t, redirect("http://cdn.example.net/blob")).Listener.Addr().String())
	yes := true
	plain := map[string]remote.HostOptions{"registry.example.com": {PlainHTTP: &yes}}
	_, err := readAll(t, newClient(t, n.options, settings(plain)).pull(t, "registry.example.com/app"), descriptor("content"))
	assertContains(t, assertErrorKind(t, err, registry.ErrForbiddenRedirect).Hint, "cdn.example.net", "plain_http = true")
	plain["cdn.example.net"] = remote.HostOptions{PlainHTTP: &yes}
	if _, err := readAll(t, newClient(t, n.options, settings(plain)).pull(t, "registry.example.com/app"), descriptor("content")); err != nil {
		t.Error(err)
	}
	if cdn.requestCount() != 1 {
		t.Errorf("requests to the other host = %d, want 1", cdn.requestCount())
	}
}

func TestRedirect_BackToRegistry(t *testing.T) {
	// The registry redirects to the CDN, the CDN back to the registry, and the registry to
	// the CDN again. The CDN may want the credentials that the registry receives.
	var bare atomic.Int32
	n := newFakeNetwork(t)
	n.serve(t, "registry.example.com", registryAddress, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/back" && r.Header.Get("Authorization") != "":
			t.Error("the redirect from the CDN was followed with credentials")
		case r.URL.Path == "/back":
			bare.Add(1)
			redirect("https://cdn.example.net/again")(w, r)
		default:
			requireLogin(redirect("https://cdn.example.net/there"))(w, r)
		}
	})
	cdn := &foreignHost{t: t, handler: func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/again" {
			_, _ = io.WriteString(w, "content")
			return
		}
		redirect("https://registry.example.com/back")(w, r)
	}}
	n.serve(t, "cdn.example.net", otherAddress, cdn.ServeHTTP)
	c := newClient(t, n.options, withRegistryLogin, settings(n.trustedHosts("registry.example.com", "cdn.example.net")))
	if _, err := readAll(t, c.pull(t, "registry.example.com/app"), descriptor("content")); err != nil {
		t.Error(err)
	}
	if bare.Load() != 1 || cdn.requestCount() != 2 {
		t.Errorf("requests to the registry without credentials = %d, to the other host = %d, want 1 and 2", bare.Load(), cdn.requestCount())
	}
}

func TestRedirect_ForeignChallenge(t *testing.T) {
	n := newFakeNetwork(t)
	n.serve(t, "registry.example.com", registryAddress, requireLogin(redirect("https://cdn.example.net/blob")))
	cdn := &foreignHost{t: t}
	cdn.handler = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("WWW-Authenticate", "Basic realm=x")
		w.Header().Add("WWW-Authenticate", `Bearer realm="https://cdn.example.net/token"`)
		w.Header().Set("Set-Cookie", "session=1")
		w.WriteHeader(http.StatusUnauthorized)
	}
	n.serve(t, "cdn.example.net", otherAddress, cdn.ServeHTTP)
	c := newClient(t, n.options, withRegistryLogin, settings(n.trustedHosts("registry.example.com", "cdn.example.net")))
	// The challenge of another host does not reveal credentials to an open registry
	// either.
	n.serve(t, "open.example.com", "203.0.113.3", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the registry received credentials without a challenge")
		}
		redirect("https://cdn.example.net/blob")(w, r)
	})
	open := newClient(t, n.options, settings(n.trustedHosts("open.example.com", "cdn.example.net")),
		credentials(map[string]auth.Credential{"open.example.com": {Username: "ci", Password: canary}}))
	for range 2 {
		_, err := readAll(t, c.pull(t, "registry.example.com/app"), descriptor("content"))
		assertContains(t, assertErrorKind(t, err, registry.ErrUnauthorized).Error(), "cdn.example.net")
		_, err = readAll(t, open.pull(t, "open.example.com/app"), descriptor("content"))
		assertErrorKind(t, err, registry.ErrUnauthorized)
	}
	if cdn.requestCount() != 4 {
		t.Errorf("requests to the other host = %d, want 4", cdn.requestCount())
	}
}

func TestRedirect_UploadHostChallenge(t *testing.T) {
	n := newFakeNetwork(t)
	rc := redirectCases["upload_location"]
	n.serve(t, "registry.example.com", registryAddress, rc.to("https://storage.example.net/upload"))
	storage := &foreignHost{t: t, handler: func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Www-Authenticate"] = []string{"Basic realm=x", `Bearer realm="https://storage.example.net/token"`}
		w.WriteHeader(http.StatusUnauthorized)
	}}
	n.serve(t, "storage.example.net", otherAddress, storage.ServeHTTP)
	c := newClient(t, n.options, withRegistryLogin, settings(n.trustedHosts("registry.example.com", "storage.example.net")))
	err := rc.do(t.Context(), c.push(t, "registry.example.com/app"))
	assertContains(t, assertErrorKind(t, err, registry.ErrUnauthorized).Error(), "storage.example.net")
	for _, r := range storage.requests {
		if r.URL.Path != "/upload" {
			t.Errorf("unexpected request %s %s", r.Method, r.URL)
		}
	}
	if storage.requestCount() == 0 {
		t.Error("the upload host received no request")
	}
}

func TestRedirect_Limit(t *testing.T) {
	for _, test := range []struct {
		redirects int
		want      error
	}{{remote.MaxRedirects, nil}, {remote.MaxRedirects + 1, registry.ErrProtocol}} {
		var requests atomic.Int32
		server := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
			if int(requests.Add(1)) > test.redirects {
				_, _ = io.WriteString(w, "content")
				return
			}
			redirect(fmt.Sprintf("/%d", requests.Load()))(w, r)
		})
		_, err := readAll(t, newClient(t).pull(t, server.Listener.Addr().String()+"/app"), descriptor("content"))
		if test.want != nil {
			assertErrorKind(t, err, test.want)
		} else if err != nil {
			t.Errorf("GetBlob() after %d redirects = %v", test.redirects, err)
		}
		if n := int(requests.Load()); n != remote.MaxRedirects+1 {
			t.Errorf("requests = %d, want %d", n, remote.MaxRedirects+1)
		}
	}
}

func TestRedirect_UploadQuery(t *testing.T) {
	const query = "b=%2F+%20&a=1;2&sig=" + "x%2fY"
	n := newFakeNetwork(t)
	n.serve(t, "registry.example.com", registryAddress, requireLogin(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://storage.example.net/up/load%2F1?"+query)
		w.WriteHeader(http.StatusAccepted)
	}))
	storage := &foreignHost{t: t}
	storage.handler = func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		want := "/up/load%2F1?" + query + "&digest=" + url.QueryEscape(descriptor("content").Digest.String())
		if r.Method != http.MethodPut || r.RequestURI != want || string(got) != "content" {
			t.Errorf("%s %s with %q, want a PUT to %s", r.Method, r.RequestURI, got, want)
		}
		w.WriteHeader(http.StatusCreated)
	}
	n.serve(t, "storage.example.net", otherAddress, storage.ServeHTTP)
	c := newClient(t, n.options, withRegistryLogin, settings(n.trustedHosts("registry.example.com", "storage.example.net")))
	outcome, err := c.push(t, "registry.example.com/app").PutBlob(t.Context(), descriptor("content"), newBody(t, "content").get())
	if err != nil || outcome != registry.Copied {
		t.Errorf("PutBlob() = %q, %v; want Copied", outcome, err)
	}
	if storage.requestCount() != 1 {
		t.Errorf("requests to the other host = %d, want 1", storage.requestCount())
	}
}

func TestRedirect_CanceledUpload(t *testing.T) {
	n := newFakeNetwork(t)
	n.serve(t, "registry.example.com", registryAddress, requireLogin(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://storage.example.net/upload?sig=the%2Fsignature")
		w.WriteHeader(http.StatusAccepted)
	}))
	var methods []string
	server := n.serve(t, "storage.example.net", otherAddress, func(w http.ResponseWriter, r *http.Request) {
		methods = append(methods, r.Method)
		if r.Header.Get("Authorization") != "" {
			t.Errorf("%s was sent with Authorization", r.Method)
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "<Error>SignatureProvided "+r.URL.Query().Get("sig")+"</Error>")
	})
	defer server.CloseClientConnections()
	c := newClient(t, n.options, withRegistryLogin, settings(n.trustedHosts("registry.example.com", "storage.example.net")))
	_, err := c.push(t, "registry.example.com/app").PutBlob(t.Context(), descriptor("content"), newBody(t, "content").get())
	assertContains(t, assertErrorKind(t, err, registry.ErrDenied).Error(), "storage.example.net", "SignatureProvided ***")
	if got := strings.Join(methods, " "); got != "PUT DELETE" {
		t.Errorf("requests to the other host = %s, want PUT DELETE", got)
	}
}

// A 404 from a host that the registry redirected to is not the registry's own. It must not
// remove a resource from the state.
func TestRedirect_ForeignNotFound(t *testing.T) {
	foreign := serveFixed(t, http.StatusNotFound, "application/json", string(registrytest.ErrorBody("MANIFEST_UNKNOWN", "gone")))
	p := scripted(t, registrytest.Behaviour{})
	p.On("GET", ".*").Reply(http.StatusTemporaryRedirect, http.Header{"Location": {foreign.URL + "/m"}}, "")
	_, err := newClient(t, singleAttempt).pull(t, p.Addr+"/app").GetManifest(t.Context(), "1")
	assertErrorKind(t, err, registry.ErrProtocol)
}

// A registry may refer uploads to a host of another owner. That host must not make the
// client send authenticated requests to the registry.
func TestRedirect_UploadHostBackToRegistry(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	foreign := servePlain(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Location", "http://"+p.Addr+"/v2/victim/manifests/sha256:0")
		w.WriteHeader(http.StatusAccepted)
	})
	p.On("POST", ".*").Alter(func(r *http.Response) { r.Header.Set("Location", "http://"+address(foreign)+"/upload") })
	c := newClient(t)
	c.ForceStreamed(p.Addr)
	_, err := c.push(t, p.Ref("app", "1")).PutBlob(c.context(t), descriptor(small), newBody(t, small).get())
	assertErrorKind(t, err, registry.ErrForbiddenRedirect)
	if n := p.Count(".*", "/v2/victim/.*"); n != 0 {
		t.Errorf("requests for the victim = %d, want 0", n)
	}
}
