package auth_test

import (
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// bearerAt returns a challenge with a realm.
func bearerAt(realm string) http.Header { return challenge(`Bearer realm="` + realm + `"`) }

func TestRealm_Trusted(t *testing.T) {
	for _, test := range []struct{ name, host, origin, realm string }{
		{"same_host", "ghcr.io", "https://ghcr.io", "https://ghcr.io/token"},
		{"same_host_other_spelling", "ghcr.io", "https://ghcr.io", "https://GHCR.IO:443/token"},
		{"docker_hub", "docker.io", "https://registry-1.docker.io", "https://auth.docker.io/token"},
		{"docker_hub_mirror", "docker.io", "https://hub.mirror.example", "https://auth.docker.io/token"},
		{"scaleway", "rg.fr-par.scw.cloud", "https://rg.fr-par.scw.cloud", "https://api.scaleway.com/registry-internal/v1/regions/fr-par/tokens"},
		{"parent_domain", "registry.gitlab.com", "https://registry.gitlab.com", "https://gitlab.com/jwt/auth"},
		{"registrable_domain", "registry.example.co.uk", "https://registry.example.co.uk", "https://Auth.Example.co.uk/token"},
		{"below_private_suffix", "acme.github.io", "https://acme.github.io", "https://auth.acme.github.io/"},
		{"localhost", "localhost:5000", "http://localhost:5000", "http://localhost:5000/token"},
		{"ipv6", "[::1]:5000", "http://[::1]:5000", "http://[::1]:5000/token"},
		{"ipv4", "10.0.0.1", "https://10.0.0.1", "https://10.0.0.1/token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			i := &issuer{}
			a := challenged(t, optionsFor(i, test.host, test.origin), bearerAt(test.realm), ci, pull)
			if got := authorize(t, a, ci, pull); got != "Bearer token-1" {
				t.Errorf("Authorize() = %q, want token-1", got)
			}
			user, pass, _ := i.lastRequest(t).BasicAuth()
			if user != "ci" || pass != password {
				t.Errorf("token request credentials = %q, %q", user, pass)
			}
		})
	}
}

func TestRealm_Untrusted(t *testing.T) {
	for _, test := range []struct{ name, host, origin, realm, realmHost string }{
		{"other_domain", "ghcr.io", "https://ghcr.io", "https://attacker.example/token", "attacker.example"},
		{"host_with_prefix", "ghcr.io", "https://ghcr.io", "https://evilghcr.io/token", "evilghcr.io"},
		{"realm_without_prefix", "evilghcr.io", "https://evilghcr.io", "https://ghcr.io/token", "ghcr.io"},
		{"host_as_subdomain", "ghcr.io", "https://ghcr.io", "https://ghcr.io.evil.com/token", "ghcr.io.evil.com"},
		{"trailing_dot", "ghcr.io", "https://ghcr.io", "https://ghcr.io./token", "ghcr.io."},
		{"docker_hub_token_host", "ghcr.io", "https://ghcr.io", "https://auth.docker.io/token", "auth.docker.io"},
		{"public_suffix", "registry.example.co.uk", "https://registry.example.co.uk", "https://evil.co.uk/token", "evil.co.uk"},
		{"private_suffix", "acme.github.io", "https://acme.github.io", "https://evil.github.io/token", "evil.github.io"},
		{"private_suffix_itself", "acme.github.io", "https://acme.github.io", "https://github.io/token", "github.io"},
		{"registry_on_private_suffix", "github.io", "https://github.io", "https://acme.github.io/token", "acme.github.io"},
		{"other_ipv4", "10.0.0.1", "https://10.0.0.1", "https://10.0.0.2/token", "10.0.0.2"},
		{"ipv4_same_suffix", "10.0.0.1", "https://10.0.0.1", "https://2.0.0.1/token", "2.0.0.1"},
		{"numeric_domain", "a.127.1", "https://a.127.1", "https://b.127.1/token", "b.127.1"},
		{"decimal_address", "10.0.0.1", "https://10.0.0.1", "https://167772161/token", "167772161"},
		{"other_ipv6", "[2001:db8::1]", "https://[2001:db8::1]", "https://[2001:db8::2]/token", "[2001:db8::2]"},
		{"single_labels", "localhost", "https://localhost", "https://auth/token", "auth"},
		{"not_scaleway", "rg.evil.scw.cloud", "https://rg.evil.scw.cloud", "https://api.scaleway.com/tokens", "api.scaleway.com"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, c := range []auth.Credential{ci, identity} {
				i := &issuer{}
				a := auth.NewAuthorizer(optionsFor(i, test.host, test.origin))
				err := a.Challenged(bearerAt(test.realm), auth.Authorization{}, c, pull)
				assertError(t, err, registry.ErrForbiddenRedirect, test.realmHost+",", "token_hosts", `set registries = { "`+test.host+`" = { token_hosts = ["`+test.realmHost+`"] } }.`, test.host+"/acme/app", "~/.docker/config.json")
				if got := authorize(t, a, c, pull); got != "" || len(i.requests()) > 0 {
					t.Errorf("Authorize() = %q after %d token requests, want none", got, len(i.requests()))
				}
			}
		})
	}
}

// A registry and its token service are often two programs on one host. With TLS, the certificate
// proves that both are on the same host. Without TLS, any user of the host can listen on
// another port.
func TestRealm_OtherPort(t *testing.T) {
	for _, test := range []struct {
		origin, realm string
		allowed       bool
	}{
		{"https://ghcr.io", "https://ghcr.io:8443/token", true},
		{"https://ghcr.io:5000", "https://ghcr.io/token", true},
		{"https://10.0.0.1:5000", "https://10.0.0.1:5001/token", true},
		{"http://localhost:5000", "https://localhost:5001/token", true},
		{"http://localhost:5000", "http://localhost:5001/token", false},
		{"http://localhost:5000", "http://localhost/token", false},
		{"http://ghcr.io", "http://ghcr.io:8080/token", false},
	} {
		i := &issuer{}
		a := auth.NewAuthorizer(optionsFor(i, "ghcr.io", test.origin))
		err := a.Challenged(bearerAt(test.realm), auth.Authorization{}, ci, pull)
		if test.allowed && err != nil {
			t.Errorf("%+v: Challenged() error = %v", test, err)
		}
		if !test.allowed {
			assertError(t, err, registry.ErrForbiddenRedirect, "token_hosts", mustURL(test.realm).Host)
		}
		_ = authorize(t, a, ci, pull)
		if sent := len(i.requests()) > 0; sent != test.allowed {
			t.Errorf("%+v: token request was sent: %t, want %t", test, sent, test.allowed)
		}
	}
}

// A hint must not suggest token_hosts for a host that the client does not connect to.
func TestRealm_ForbiddenAddress(t *testing.T) {
	for _, c := range []auth.Credential{ci, anonymous} {
		i := &issuer{}
		o := options(i)
		o.Allowed = func(realm *url.URL) bool { return realm.Hostname() != "169.254.169.254" }
		err := auth.NewAuthorizer(o).Challenged(bearerAt("https://169.254.169.254/token"), auth.Authorization{}, c, pull)
		assertError(t, err, registry.ErrForbiddenRedirect, "cannot ask for a token at https://169.254.169.254/token", "no business", "Ask those who run it")
		if e, _ := errors.AsType[*registry.Error](err); strings.Contains(e.Hint, "token_hosts") || len(i.requests()) > 0 {
			t.Errorf("hint = %q after %d token requests, want no token_hosts and no request", e.Hint, len(i.requests()))
		}
	}
	challenged(t, options(&issuer{}), ghcrChallenge, ci)
}

func TestRealm_TokenHosts(t *testing.T) {
	for _, test := range []struct {
		origin, realm, tokenHost string
		allowed                  bool
	}{
		{"https://ghcr.io", "https://auth.example/token", "auth.example", true},
		{"https://ghcr.io", "https://auth.example/token", "AUTH.example", true},
		{"https://ghcr.io", "https://auth.example/token", "auth.example:443", true},
		{"https://ghcr.io", "https://auth.example:8443/token", "auth.example:8443", true},
		{"https://ghcr.io", "https://auth.example:8443/token", "auth.example", false},
		{"https://ghcr.io", "https://auth.example/token", "auth.example:8443", false},
		{"https://ghcr.io", "https://sub.auth.example/token", "auth.example", false},
		{"https://ghcr.io", "https://auth.example/token", "", false},
		{"http://127.0.0.1:5000", "http://127.0.0.1:5001/token", "127.0.0.1:5001", true},
		{"http://127.0.0.1:5000", "http://127.0.0.1:5001/token", "127.0.0.1", false},
	} {
		c := ci
		c.TokenHosts = []string{"other.example", test.tokenHost}
		i := &issuer{}
		a := auth.NewAuthorizer(optionsFor(i, "ghcr.io", test.origin))
		err := a.Challenged(bearerAt(test.realm), auth.Authorization{}, c, pull)
		switch {
		case !test.allowed:
			assertError(t, err, registry.ErrForbiddenRedirect)
		case err != nil:
			t.Errorf("%+v: Challenged() error = %v", test, err)
		default:
			authorize(t, a, c, pull)
		}
		if sent := len(i.requests()) > 0; sent != test.allowed {
			t.Errorf("%+v: token request was sent: %t, want %t", test, sent, test.allowed)
		}
	}
}

func TestRealm_Invalid(t *testing.T) {
	for _, test := range []struct {
		origin, header string
		kind           error
		words          []string
	}{
		{"https://ghcr.io", `Bearer`, registry.ErrProtocol, []string{"no realm"}},
		{"https://ghcr.io", `Bearer service="x"`, registry.ErrProtocol, []string{"no realm"}},
		{"https://ghcr.io", `Bearer realm=""`, registry.ErrProtocol, []string{"no realm"}},
		{"https://ghcr.io", `Bearer realm="/token"`, registry.ErrProtocol, []string{"not an absolute URL"}},
		{"https://ghcr.io", `Bearer realm="Registry Realm"`, registry.ErrProtocol, []string{"not an absolute URL"}},
		{"https://ghcr.io", `Bearer realm="https://"`, registry.ErrProtocol, []string{"no host"}},
		{"https://ghcr.io", `Bearer realm="https:token"`, registry.ErrProtocol, []string{"no host"}},
		{"https://ghcr.io", `Bearer realm="https://ghcr.io:x/"`, registry.ErrProtocol, []string{"not a URL"}},
		{"https://ghcr.io", `Bearer realm="https://gh cr.io/"`, registry.ErrProtocol, []string{"not a URL"}},
		{"https://ghcr.io", `Bearer realm="file:///etc/passwd"`, registry.ErrForbiddenRedirect, []string{"file:///etc/passwd", "only https and http"}},
		{"https://ghcr.io", `Bearer realm="ftp://ghcr.io/"`, registry.ErrForbiddenRedirect, []string{"only https and http"}},
		{"https://ghcr.io", `Bearer realm="https://u:` + password + `@ghcr.io/token"`, registry.ErrForbiddenRedirect, []string{"user name"}},
		{"https://ghcr.io", `Bearer realm="http://ghcr.io/token"`, registry.ErrForbiddenRedirect, []string{"from https to http"}},
		{"http://localhost:5000", `Bearer realm="http://auth.example/token"`, registry.ErrForbiddenRedirect, []string{"over https alone"}},
		{"https://ghcr.io", `Bearer realm="open`, registry.ErrProtocol, []string{"malformed"}},
	} {
		for _, c := range []auth.Credential{ci, anonymous} {
			i := &issuer{}
			a := auth.NewAuthorizer(optionsFor(i, "ghcr.io", test.origin))
			assertError(t, a.Challenged(challenge(test.header), auth.Authorization{}, c, pull), test.kind, test.words...)
			if got := authorize(t, a, c, pull); got != "" || len(i.requests()) > 0 {
				t.Errorf("Authorize() after %s = %q, want no header and no token request", test.header, got)
			}
		}
	}
}

func TestRealm_AnonymousRequest(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), bearerAt("https://auth.example/token"), anonymous, pull)
	if got := authorize(t, a, anonymous, pull); got != "Bearer token-1" {
		t.Errorf("Authorize() = %q, want token-1", got)
	}
	if header := i.lastRequest(t).Header.Get("Authorization"); header != "" {
		t.Errorf("Authorization of the token request = %q, want none", header)
	}
	// The realm must not receive credentials.
	if got := authorize(t, a, ci, pull); got != "" || len(i.requests()) != 1 {
		t.Errorf("Authorize() with credentials = %q, want no header and no token request", got)
	}
}

func TestRealm_Query(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), bearerAt("https://ghcr.io/token?host=acme&x=%2F#top"), ci, pull)
	authorize(t, a, ci, pull)
	u := i.lastRequest(t).URL
	if u.Fragment != "" || u.Query().Get("host") != "acme" || u.Query().Get("x") != "/" || u.Query().Get("scope") == "" {
		t.Errorf("token request URL = %s", u)
	}
}

// A realm cannot choose the scope of a token, because only the client sets the parameters of a
// token request.
func TestRealm_TokenParameters(t *testing.T) {
	const realm = "https://ghcr.io/token?host=acme&scope=repository:acme/app:push&scope=repository:secret/app:pull&service=other" +
		"&account=root&SCOPE=repository:a:push&s%63ope=repository:b:push&x=1;scope=repository:c:push"
	own := url.Values{"scope": {"repository:acme/app:pull"}, "service": {"ghcr.io"}}
	for name, test := range map[string]struct {
		credential auth.Credential
		service    string
		want       url.Values
	}{
		"get":             {ci, `,service="ghcr.io"`, url.Values{"account": {"ci"}}},
		"get_anonymous":   {anonymous, `,service="ghcr.io"`, nil},
		"post":            {identity, `,service="ghcr.io"`, url.Values{"client_id": {"terraform-provider-registry"}, "grant_type": {"refresh_token"}, "refresh_token": {identityToken}}},
		"get_no_service":  {ci, "", url.Values{"account": {"ci"}, "service": nil}},
		"post_no_service": {identity, "", url.Values{"client_id": {"terraform-provider-registry"}, "grant_type": {"refresh_token"}, "refresh_token": {identityToken}, "service": nil}},
	} {
		t.Run(name, func(t *testing.T) {
			i := &issuer{}
			a := challenged(t, options(i), challenge(`Bearer realm="`+realm+`"`+test.service), test.credential, pull)
			authorize(t, a, test.credential, pull)
			want := url.Values{"host": {"acme"}}
			for _, values := range []url.Values{own, test.want} {
				for name, value := range values {
					if want[name] = value; value == nil {
						delete(want, name)
					}
				}
			}
			if got := i.lastRequest(t).Form; !reflect.DeepEqual(got, want) {
				t.Errorf("the token request has the parameters %v, want %v", got, want)
			}
		})
	}
}

func TestRealm_SanitizedErrors(t *testing.T) {
	a := auth.NewAuthorizer(options(&issuer{}))
	for _, header := range []string{
		"Bearer realm=\"https://evil.example/\u202e?token=secret#x\"",
		"Bearer realm=\"gopher://evil.example/\u202e\"",
		"Bearer realm=\"https://evil\u202e.example/\"",
		"X\u202e", "Digest, Negotiate",
	} {
		err := a.Challenged(challenge(header), auth.Authorization{}, ci, pull)
		if err == nil || strings.ContainsAny(err.Error(), "\u202e\n") || strings.Contains(err.Error(), "secret") {
			t.Errorf("Challenged(%q) error = %q, want a sanitized error", header, err)
		}
	}
}
