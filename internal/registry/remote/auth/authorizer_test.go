package auth_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

func TestAuthorize_BeforeChallenge(t *testing.T) {
	i := &issuer{}
	a := auth.NewAuthorizer(options(i))
	for _, c := range []auth.Credential{ci, identity, anonymous, {RegistryToken: registryToken}} {
		if got := authorize(t, a, c, pull); got != "" || len(i.requests()) > 0 {
			t.Errorf("Authorize() before a challenge = %q, want no header and no token request", got)
		}
	}
}

func TestChallenged_Basic(t *testing.T) {
	for _, line := range []string{`Basic realm="x"`, `basic realm="x"`, `BASIC`} {
		i := &issuer{}
		a := challenged(t, options(i), challenge(line), ci, pull)
		used := authorization(t, a, ci, pull)
		if used.Header.Reveal() != "Basic "+base64Of("ci:"+password) || len(i.requests()) > 0 {
			t.Errorf("Authorize() = %q, want Basic authentication without a token request", used.Header.Reveal())
		}
		if got := authorize(t, a, anonymous, pull); got != "" {
			t.Errorf("Authorize() of an anonymous credential = %q, want no header", got)
		}
		err := a.Challenged(challenge(line), used, ci, pull)
		assertError(t, err, registry.ErrUnauthorized, "HTTP 401", "were refused", "~/.docker/config.json", "ghcr.io/acme/app")
	}
}

func TestChallenged_BasicWithoutPassword(t *testing.T) {
	for want, c := range map[string]auth.Credential{
		"a user name and a password are wanted: \nThe registry wants a login and there was none":                                                               anonymous,
		"there is only a token: \nthe identity token, from ~/.docker/config.json. This registry takes a user name and a password and no token: set registries": identity,
		"there is only a token: \nthe registry token, from the caller.":                                                                                        {RegistryToken: registryToken},
	} {
		a := auth.NewAuthorizer(options(&issuer{}))
		err := a.Challenged(challenge("Basic"), auth.Authorization{}, c, pull)
		assertError(t, err, registry.ErrUnauthorized, strings.Split(want, ": \n")...)
	}
}

func TestAuthorize_RegistryToken(t *testing.T) {
	i := &issuer{}
	c := auth.Credential{RegistryToken: registryToken, Source: "docker_config_json"}
	a := challenged(t, options(i), ghcrChallenge, c, pull)
	used := authorization(t, a, c, pull)
	if used.Header != "Bearer "+registryToken || len(i.requests()) > 0 {
		t.Errorf("Authorize() = %q after %d token requests, want the registry token and none", used.Header.Reveal(), len(i.requests()))
	}
	assertError(t, a.Challenged(ghcrChallenge, used, c, pull), registry.ErrUnauthorized, "the registry token was refused", "docker_config_json")

	// A registry token is only sent to the registry, so any realm is accepted.
	challenged(t, options(i), bearerAt("https://attacker.example/"), c, pull)
}

func TestAuthorize_InvalidRegistryToken(t *testing.T) {
	c := auth.Credential{RegistryToken: registryToken + "\r\nX: y", Source: "docker_config_json"}
	a := challenged(t, options(&issuer{}), ghcrChallenge, c, pull)
	_, err := a.Authorize(t.Context(), c, pull)
	assertError(t, err, registry.ErrCredentials, "no header can carry", "docker_config_json")
}

func TestChallenged_SelectsChallenge(t *testing.T) {
	basic := "Basic " + base64Of("ci:"+password)
	for name, test := range map[string]struct {
		lines []string
		want  string
	}{
		"bearer_over_basic":        {[]string{`Basic realm="x", Bearer realm="https://ghcr.io/token"`}, "Bearer token-1"},
		"bearer_over_others":       {[]string{"Negotiate", `Bearer realm="https://ghcr.io/token"`}, "Bearer token-1"},
		"trusted_realm":            {[]string{`Bearer realm="https://attacker.example/"`, `Bearer realm="https://ghcr.io/token"`}, "Bearer token-1"},
		"basic_if_realm_untrusted": {[]string{`Bearer realm="https://attacker.example/"`, "Basic"}, basic},
		"basic_if_no_realm":        {[]string{"Bearer, Basic"}, basic},
	} {
		t.Run(name, func(t *testing.T) {
			a := challenged(t, options(&issuer{}), challenge(test.lines...), ci, pull)
			if got := authorize(t, a, ci, pull); got != test.want {
				t.Errorf("Authorize() = %q, want %q", got, test.want)
			}
		})
	}
}

func TestChallenged_UnsupportedChallenges(t *testing.T) {
	a := auth.NewAuthorizer(options(&issuer{}))
	assertError(t, a.Challenged(nil, auth.Authorization{}, ci, pull), registry.ErrUnauthorized, "HTTP 401", "no WWW-Authenticate header", "so that no login was sent")
	assertError(t, a.Challenged(challenge("Negotiate", "Digest nonce=x"), auth.Authorization{}, ci, pull), registry.ErrUnauthorized, "negotiate or digest", "only Basic and Bearer")
	assertError(t, a.Challenged(challenge(`Bearer realm="https://attacker.example/", Basic`), auth.Authorization{}, identity, pull), registry.ErrForbiddenRedirect, "attacker.example")
	assertError(t, a.Challenged(challenge("Bearer realm="), auth.Authorization{}, ci), registry.ErrProtocol, "ghcr.io: cannot")
}

func TestAuthorize_TokenCoversScopes(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), ghcrChallenge, ci, pull)
	other := auth.Scope{Repository: "base/os", Actions: []string{"pull"}}
	for _, step := range []struct {
		scopes []auth.Scope
		want   string
	}{
		{[]auth.Scope{pull}, "Bearer token-1"},
		{[]auth.Scope{pull}, "Bearer token-1"},
		{[]auth.Scope{push, other}, "Bearer token-2"},
		{[]auth.Scope{other, push}, "Bearer token-2"},
		{[]auth.Scope{pull}, "Bearer token-2"},
		{[]auth.Scope{other}, "Bearer token-2"},
		{nil, "Bearer token-2"},
		{[]auth.Scope{{Repository: "base/os", Actions: []string{"push"}}}, "Bearer token-3"},
		{[]auth.Scope{push}, "Bearer token-2"},
	} {
		if got := authorize(t, a, ci, step.scopes...); got != step.want {
			t.Errorf("Authorize(%v) = %q, want %q", step.scopes, got, step.want)
		}
	}
}

func TestAuthorize_TokenPerCredential(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), ghcrChallenge, ci, pull)
	for n, c := range []auth.Credential{
		ci, anonymous, identity, {Username: "other", Password: password}, {Username: "ci", Password: "other"}, {Username: "ci", Password: password, IdentityToken: "x"},
	} {
		if got, want := authorize(t, a, c, pull), fmt.Sprintf("Bearer token-%d", n+1); got != want {
			t.Errorf("Authorize() of credential %d = %q, want %q", n, got, want)
		}
	}
	// The source of the credential does not matter.
	if got := authorize(t, a, auth.Credential{Username: "ci", Password: password, Source: "elsewhere"}, pull); got != "Bearer token-1" {
		t.Errorf("Authorize() of the same credential = %q, want token-1", got)
	}
}

func TestChallenged_RefusedToken(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), ghcrChallenge, ci, pull)
	first := authorization(t, a, ci, pull)
	if err := a.Challenged(ghcrChallenge, first, ci, pull); err != nil {
		t.Fatal(err)
	}
	second := authorize(t, a, ci, pull)
	if second != "Bearer token-2" {
		t.Errorf("Authorize() after a refusal = %q, want token-2", second)
	}
	// A request with the first token gets a late response, after a token for another
	// scope was refused.
	other := auth.Scope{Repository: "base/os", Actions: []string{"pull"}}
	if err := a.Challenged(ghcrChallenge, authorization(t, a, ci, other), ci, other); err != nil {
		t.Fatal(err)
	}
	if err := a.Challenged(ghcrChallenge, first, ci, pull); err != nil {
		t.Fatal(err)
	}
	if got := authorize(t, a, ci, pull); got != second {
		t.Errorf("Authorize() after a late refusal = %q, want %q", got, second)
	}
	// So does a request that was sent before there was a token.
	if err := a.Challenged(ghcrChallenge, auth.Authorization{}, ci, pull); err != nil {
		t.Fatal(err)
	}
	if got := authorize(t, a, ci, pull); got != second {
		t.Errorf("Authorize() after a late challenge = %q, want %q", got, second)
	}
}

// A registry with a new key refuses all existing tokens. A request is not retried with
// each of them, and tokens for other scopes are kept.
func TestChallenged_DiscardsTokensForSameScopes(t *testing.T) {
	base := auth.Scope{Repository: "base/os", Actions: []string{"pull"}}
	next := auth.Scope{Repository: "next/app", Actions: []string{"pull"}}
	a := challenged(t, options(&issuer{}), ghcrChallenge, ci, pull)
	for _, scopes := range [][]auth.Scope{{next}, {pull}, {push}, {pull, base}} {
		authorize(t, a, ci, scopes...)
	}
	used := authorization(t, a, ci, pull)
	if used.Header != "Bearer token-4" {
		t.Errorf("Authorize() = %q, want the latest token-4", used.Header.Reveal())
	}
	// This token is fetched while the key changes.
	authorize(t, a, ci, pull, auth.Scope{Repository: "late/app", Actions: []string{"pull"}})
	if err := a.Challenged(ghcrChallenge, used, ci, pull); err != nil {
		t.Fatal(err)
	}
	if got := authorize(t, a, ci, pull); got != "Bearer token-6" {
		t.Errorf("Authorize() after a refusal = %q, want token-6", got)
	}
	if got := authorize(t, a, ci, next); got != "Bearer token-1" {
		t.Errorf("Authorize() of another scope = %q, want token-1", got)
	}
}

func TestChallenged_KeepsTokensOfOtherCredentials(t *testing.T) {
	i := respondingIssuer(200, `{"token": "same"}`)
	a := challenged(t, options(i), ghcrChallenge, ci, pull)
	used := authorization(t, a, ci, pull)
	authorize(t, a, anonymous, pull)
	if err := a.Challenged(ghcrChallenge, used, ci, pull); err != nil {
		t.Fatal(err)
	}
	authorize(t, a, anonymous, pull)
	if n := len(i.requests()); n != 2 {
		t.Errorf("%d tokens were fetched, want 2", n)
	}
}

func TestAuthorize_ExpiredTokens(t *testing.T) {
	i, clock := &issuer{}, newClock()
	o := options(i)
	o.Now = clock.Now
	a := challenged(t, o, ghcrChallenge, ci, pull)
	authorize(t, a, ci, pull)
	authorize(t, a, anonymous, pull)
	clock.advance(time.Hour)
	if got := authorize(t, a, ci, pull); got != "Bearer token-3" {
		t.Errorf("Authorize() after an hour = %q, want token-3", got)
	}
	if got := authorize(t, a, anonymous, pull); got != "Bearer token-4" {
		t.Errorf("Authorize() after an hour = %q, want token-4", got)
	}
}

// The scope of a challenge does not extend that of an operation, whatever its format.
func TestChallenged_IgnoresScope(t *testing.T) {
	for _, challenged := range []string{
		"", "*", "nonsense", "registry:catalog:*", "repository:acme/app:pull", "repository:acme/app:pull,push", "repository:acme/app:delete,pull",
		"repository:acme/app:*", "repository(plugin):acme/app:push", "repository:secret/app:pull", "repository:acme/app:pull repository:secret/app:pull,push",
	} {
		for name, c := range map[string]auth.Credential{"password": ci, "identity_token": identity, "anonymous": anonymous} {
			i := &issuer{}
			a := auth.NewAuthorizer(options(i))
			header := challenge(`Bearer realm="https://ghcr.io/token",scope="` + challenged + `"`)
			used := auth.Authorization{}
			// The second challenge refuses a token for its insufficient scope.
			for range 2 {
				if err := a.Challenged(header, used, c, pull); err != nil {
					t.Fatalf("Challenged(%q) as %s: %v", challenged, name, err)
				}
				used = authorization(t, a, c, pull)
				req := i.lastRequest(t)
				if got := req.Form["scope"]; len(got) != 1 || got[0] != "repository:acme/app:pull" {
					t.Errorf("Challenged(%q) as %s: the token request has the scope %q", challenged, name, got)
				}
			}
			if got := len(i.requests()); got != 2 {
				t.Errorf("Challenged(%q) as %s: %d token requests, want 2", challenged, name, got)
			}
		}
	}
}

// Harbor responds to a refused token with a Basic challenge, as if the client did not
// support Bearer.
func TestChallenged_BasicAfterRefusedToken(t *testing.T) {
	harbor := challenge(`Basic realm="harbor"`)
	for name, test := range map[string]struct {
		credential auth.Credential
		want       string
	}{
		"anonymous":      {anonymous, "Bearer token-2"},
		"identity_token": {identity, "Bearer token-2"},
		"password":       {ci, "Basic " + base64Of("ci:"+password)},
	} {
		t.Run(name, func(t *testing.T) {
			a := challenged(t, options(&issuer{}), ghcrChallenge, test.credential, pull)
			if err := a.Challenged(harbor, authorization(t, a, test.credential, pull), test.credential, pull); err != nil {
				t.Fatal(err)
			}
			if got := authorize(t, a, test.credential, pull); got != test.want {
				t.Errorf("Authorize() = %q, want %q", got, test.want)
			}
		})
	}
}

func TestChallenged_ChangedChallenge(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), challenge("Basic"), ci, pull)
	used := authorization(t, a, ci, pull)
	if err := a.Challenged(ghcrChallenge, used, ci, pull); err != nil {
		t.Fatal(err)
	}
	if got := authorize(t, a, ci, pull); got != "Bearer token-1" {
		t.Errorf("Authorize() = %q, want token-1", got)
	}
	if err := a.Challenged(bearerAt("https://ghcr.io/elsewhere"), auth.Authorization{}, anonymous, pull); err != nil {
		t.Fatal(err)
	}
	authorize(t, a, anonymous, pull)
	if got := i.lastRequest(t).URL.Path; got != "/elsewhere" {
		t.Errorf("token request path = %q, want /elsewhere", got)
	}
}

// A proxy may send a challenge with another realm.
func TestChallenged_InvalidChallengeKeepsState(t *testing.T) {
	a := challenged(t, options(&issuer{}), ghcrChallenge, ci, pull)
	for _, invalid := range []http.Header{bearerAt("https://attacker.example/"), bearerAt("/x"), challenge("Digest"), nil} {
		if err := a.Challenged(invalid, auth.Authorization{}, ci, pull); err == nil {
			t.Fatalf("Challenged(%v) error = nil, want an error", invalid)
		}
	}
	if got := authorize(t, a, ci, pull); got != "Bearer token-1" {
		t.Errorf("Authorize() = %q, want token-1", got)
	}
}

// With more repositories than cached tokens, the latest token is cached, and the first
// one is fetched again.
func TestAuthorize_TokenCacheLimit(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), ghcrChallenge, ci)
	scope := func(n int) auth.Scope {
		return auth.Scope{Repository: fmt.Sprintf("acme/%d", n), Actions: []string{"pull"}}
	}
	const repositories = 1000
	for n := range repositories {
		authorize(t, a, ci, scope(n))
	}
	authorize(t, a, ci, scope(repositories-1))
	if n := len(i.requests()); n != repositories {
		t.Errorf("%d tokens were fetched, want %d", n, repositories)
	}
	authorize(t, a, ci, scope(0))
	if n := len(i.requests()); n != repositories+1 {
		t.Errorf("%d tokens were fetched, want %d", n, repositories+1)
	}
}
