package remote_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// pullRedirectedBlob starts a registry at an address that redirects blob requests to
// location. It returns the error of reading a blob.
func pullRedirectedBlob(t *testing.T, n *fakeNetwork, address, location string) error {
	t.Helper()
	n.serve(t, "registry.example.com", address, redirect(location))
	hosts := n.trustedHosts("registry.example.com")
	if u, err := url.Parse(location); err == nil {
		hosts[u.Host] = hosts["registry.example.com"]
	}
	c := newClient(t, n.options, settings(hosts))
	_, err := readAll(t, c.pull(t, "registry.example.com/app"), descriptor("content"))
	return err
}

func TestRedirect_AddressScope(t *testing.T) {
	for _, test := range []struct {
		from, to string
		allowed  bool
	}{
		{"203.0.113.1", "203.0.113.2", true},
		{"203.0.113.1", "10.0.0.2", false},
		{"203.0.113.1", "127.0.0.2", false},
		{"203.0.113.1", "::1", false},
		{"203.0.113.1", "169.254.169.254", false},
		{"203.0.113.1", "64:ff9b::a9fe:a9fe", false},
		{"10.0.0.1", "203.0.113.2", true},
		{"10.0.0.1", "192.168.0.2", true},
		{"10.0.0.1", "127.0.0.2", false},
		{"10.0.0.1", "169.254.169.254", false},
		{"127.0.0.3", "127.0.0.2", true},
		{"127.0.0.3", "10.0.0.2", false},
		{"127.0.0.3", "169.254.169.254", false},
		{"169.254.1.1", "169.254.169.254", false},
		{"169.254.1.1", "203.0.113.2", true},
	} {
		t.Run(test.from+"_to_"+test.to, func(t *testing.T) {
			n := newFakeNetwork(t)
			// The redirect uses a name, so only the resolved address reveals the target.
			n.serve(t, "cdn.example.net", test.to, serveBlob("content"))
			err := pullRedirectedBlob(t, n, test.from, "https://cdn.example.net/blob")
			if test.allowed {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			assertContains(t, assertErrorKind(t, err, registry.ErrForbiddenRedirect).Error(), test.to, "cdn.example.net")
			if slices.Contains(n.dials(), net.JoinHostPort(test.to, "443")) {
				t.Error("the client connected to the forbidden address")
			}
		})
	}
}

// redirectCases are the ways in which a registry refers a client to a URL, and an
// operation that then uses that URL.
var redirectCases = map[string]struct {
	to func(target string) http.HandlerFunc
	do func(context.Context, registry.Repository) error
}{
	"token_realm": {bearerChallenge, get},
	"redirect": {
		func(target string) http.HandlerFunc { return requireLogin(redirect(target)) },
		func(ctx context.Context, r registry.Repository) error { return drain(ctx, r, descriptor("content")) },
	},
	"upload_location": {
		func(target string) http.HandlerFunc {
			return requireLogin(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", target)
				w.WriteHeader(http.StatusAccepted)
			})
		},
		func(ctx context.Context, r registry.Repository) error {
			_, err := r.PutBlob(ctx, descriptor("content"), registry.Content{Open: func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader("content")), nil
			}})
			return err
		},
	},
}

// A public registry must not refer a client to an internal address, directly or by a name
// in its own domain. The client refuses such an address even if token_hosts allows the
// host to receive credentials.
func TestRedirect_InternalAddress(t *testing.T) {
	inside := map[string]string{
		"127.0.0.1": "127.0.0.1", "[::1]": "::1", "10.0.0.1": "10.0.0.1", "0.0.0.0": "0.0.0.0",
		"169.254.169.254": "169.254.169.254", "[::ffff:a9fe:a9fe]": "::ffff:169.254.169.254", "[fd00:ec2::254]": "fd00:ec2::254", "168.63.129.16": "168.63.129.16",
		"[64:ff9b::a9fe:a9fe]": "64:ff9b::a9fe:a9fe", "[2002:a9fe:a9fe::]": "2002:a9fe:a9fe::",
		// Forms that some resolvers accept as an address.
		"2852039166": "169.254.169.254", "0x7f000001": "127.0.0.1", "127.1": "127.0.0.1",
	}
	for name, rc := range redirectCases {
		for literal, address := range inside {
			for _, target := range []string{literal, "inside.example.com"} {
				t.Run(name+"/"+target+"_is_"+address, func(t *testing.T) {
					n := newFakeNetwork(t)
					n.name(target, address)
					n.serve(t, "registry.example.com", registryAddress, rc.to("https://"+target+"/there"))
					c := newClient(t, n.options, settings(n.trustedHosts("registry.example.com")), credentials(map[string]auth.Credential{
						"registry.example.com": {Username: "ci", Password: canary, TokenHosts: []string{target}},
					}))
					assertErrorKind(t, rc.do(t.Context(), c.push(t, "registry.example.com/app")), registry.ErrForbiddenRedirect)
					if dials := slices.Compact(n.dials()); !slices.Equal(dials, []string{registryAddress + ":443"}) {
						t.Errorf("dialed addresses = %s, want only the registry", dials)
					}
				})
			}
		}
	}
}

func TestRedirect_AnyForbiddenAddress(t *testing.T) {
	n := newFakeNetwork(t)
	n.name("cdn.example.net", "203.0.113.2", "169.254.169.254")
	err := pullRedirectedBlob(t, n, registryAddress, "https://cdn.example.net/blob")
	assertErrorKind(t, err, registry.ErrForbiddenRedirect)
	if got := n.dials(); !slices.Equal(got, []string{registryAddress + ":443"}) {
		t.Errorf("dialed addresses = %s, want only the registry", got)
	}
}

func TestRedirect_RegistryWithMixedAddresses(t *testing.T) {
	for name, addresses := range map[string][]string{
		"public_first":  {registryAddress, "10.0.0.1"},
		"private_first": {"10.0.0.1", registryAddress},
	} {
		t.Run(name, func(t *testing.T) {
			n := newFakeNetwork(t)
			n.serve(t, "storage.internal.example", "10.0.0.7", serveBlob("content"))
			n.serve(t, "registry.example.com", registryAddress, redirect("https://storage.internal.example/blob"))
			n.name("registry.example.com", addresses...)
			c := newClient(t, n.options, settings(n.trustedHosts("registry.example.com", "storage.internal.example")))
			_, err := readAll(t, c.pull(t, "registry.example.com/app"), descriptor("content"))
			assertErrorKind(t, err, registry.ErrForbiddenRedirect)
		})
	}
}

func TestRedirect_PrivateUploadHost(t *testing.T) {
	n := newFakeNetwork(t)
	n.serve(t, "storage.example.net", "10.0.0.7", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
	n.serve(t, "registry.example.com", registryAddress, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://storage.example.net/upload")
		w.WriteHeader(http.StatusAccepted)
	})
	c := newClient(t, n.options, settings(n.trustedHosts("registry.example.com", "storage.example.net")))
	_, err := c.push(t, "registry.example.com/app").PutBlob(t.Context(), descriptor("content"), newBody(t, "content").get())
	assertErrorKind(t, err, registry.ErrForbiddenRedirect)
}

func TestTarget_Location(t *testing.T) {
	c := newClient(t)
	for _, test := range []struct{ host, from, location, want string }{
		{"r.example", "https://r.example/v2/a/blobs/uploads/", "/v2/x?a=%2F;b&c", "https://r.example/v2/x?a=%2F;b&c"},
		{"r.example", "https://r.example/v2/a/blobs/uploads/", "https://r.example/x", "https://r.example/x"},
		{"r.example", "https://r.example/v2/a/blobs/uploads/", "//cdn.example/x?s=1", "https://cdn.example/x?s=1"},
		{"r.example", "https://r.example/v2/a/blobs/uploads/", "abc?d=e", "https://r.example/v2/a/blobs/uploads/abc?d=e"},
		{"r.example", "https://r.example/v2/a/blobs/uploads/", "../x%2Fy", "https://r.example/v2/a/blobs/x%2Fy"},
		{"r.example", "https://r.example/v2/a/blobs/uploads/", "/x#fragment", "https://r.example/x"},
		// A registry behind a TLS proxy does not know that its clients use TLS.
		{"r.example", "https://r.example/v2/a/blobs/uploads/", "http://r.example/x", "https://r.example/x"},
		{"r.example", "https://r.example/v2/a/blobs/uploads/", "http://R.example:80/x", "https://r.example/x"},
		{"r.example:8443", "https://r.example:8443/v2/a/blobs/uploads/", "http://r.example:8443/x", "https://r.example:8443/x"},
		{"127.0.0.1:5000", "http://127.0.0.1:5000/v2/a/blobs/uploads/", "http://127.0.0.1:9000/x", "http://127.0.0.1:9000/x"},
		{"127.0.0.1:5000", "http://127.0.0.1:5000/v2/a/blobs/uploads/", "http://localhost:9000/x", "http://localhost:9000/x"},
	} {
		from, err := url.Parse(test.from)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Target(test.host, from, test.location)
		if err != nil || got.String() != test.want {
			t.Errorf("Target(%s) from %s = %s, %v; want %s", test.location, test.from, got, err, test.want)
		}
	}
}

func TestPutBlob_InvalidLocation(t *testing.T) {
	for location, want := range map[string]error{
		"":                         registry.ErrProtocol,
		"http://[::1":              registry.ErrProtocol,
		"https://%zz/":             registry.ErrProtocol,
		"file:///tmp/x":            registry.ErrForbiddenRedirect,
		"https:///x":               registry.ErrForbiddenRedirect,
		"http://cdn.example.net/x": registry.ErrForbiddenRedirect,
		"https://u:" + url.QueryEscape(canary) + "@cdn.example.net/x": registry.ErrForbiddenRedirect,
		"http://u:" + url.QueryEscape(canary) + "@other/x":            registry.ErrForbiddenRedirect,
		"ftp://cdn.example.net/?s=" + canary:                          registry.ErrForbiddenRedirect,
	} {
		t.Run(location, func(t *testing.T) {
			p := scripted(t, registrytest.Behaviour{})
			p.On("POST", ".*").Alter(func(r *http.Response) { r.Header.Set("Location", location) })
			if location == "" {
				p.Clear()
				p.On("POST", ".*").Reply(http.StatusAccepted, nil, "")
			}
			content := newBody(t, "content")
			_, err := newClient(t).push(t, p.Ref("app", "1")).PutBlob(t.Context(), descriptor("content"), content.get())
			assertErrorKind(t, err, want)
			if content.opens() != 0 {
				t.Error("the content was opened although the Location is invalid")
			}
		})
	}
}

func TestPutBlob_PlainLocationUpgradedToTLS(t *testing.T) {
	n := newFakeNetwork(t)
	n.serve(t, "registry.example.com", registryAddress, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://registry.example.com/upload")
		w.WriteHeader(map[bool]int{true: http.StatusCreated, false: http.StatusAccepted}[r.Method == http.MethodPut])
	})
	c := newClient(t, n.options, settings(n.trustedHosts("registry.example.com")))
	if _, err := c.push(t, "registry.example.com/app").PutBlob(t.Context(), descriptor("content"), newBody(t, "content").get()); err != nil {
		t.Error(err)
	}
	if slices.ContainsFunc(n.dials(), func(a string) bool { return !strings.HasSuffix(a, ":443") }) {
		t.Errorf("dialed addresses = %s, want only port 443", n.dials())
	}
}

// The hint must not advise allowing a host that is refused at dial time anyway.
func TestTarget_ForbiddenHint(t *testing.T) {
	from, err := url.Parse("http://registry.example.com/v2/app/blobs/uploads/")
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	c := newClient(t, settings(map[string]remote.HostOptions{"registry.example.com": {PlainHTTP: &yes}}))
	for location, want := range map[string]string{
		"http://CDN.example.net:8080/x":        `registries = { "cdn.example.net:8080" = { plain_http = true } }`,
		"http://[2606:4700::1]/x":              `registries = { "[2606:4700::1]" = { plain_http = true } }`,
		"http://169.254.169.254/x":             "No setting allows this",
		"http://0.0.0.0/x":                     "No setting allows this",
		"http://10.0.0.1/x":                    "No setting allows this",
		"http://2852039166/x":                  "No setting allows this",
		"http://[::ffff:169.254.169.254]:80/x": "No setting allows this",
		"ftp://cdn.example.net/x":              "No setting allows this",
	} {
		_, err := c.Target("registry.example.com", from, location)
		e := assertErrorKind(t, registry.WithDefaultHint(err), registry.ErrForbiddenRedirect)
		assertContains(t, e.Hint, want)
		if allowed, plain := strings.Contains(want, "plain_http"), strings.Contains(e.Message, "that is plain HTTP"); allowed != plain {
			t.Errorf("%s: message = %s, hint = %s", location, e.Message, e.Hint)
		}
	}
}
