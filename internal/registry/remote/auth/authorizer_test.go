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

func TestNothingIsSentBeforeTheRegistryAsks(t *testing.T) {
	i := &issuer{}
	a := auth.NewAuthorizer(options(i))
	for _, c := range []auth.Credential{ci, identity, nobody, {RegistryToken: registryToken}} {
		if got := authorize(t, a, c, pull); got != "" || len(i.requests()) > 0 {
			t.Errorf("the first request goes out with %q", got)
		}
	}
}

func TestBasic(t *testing.T) {
	for _, line := range []string{`Basic realm="x"`, `basic realm="x"`, `BASIC`} {
		i := &issuer{}
		a := challenged(t, options(i), challenge(line), ci, pull)
		used := authorization(t, a, ci, pull)
		if used.Header.Reveal() != "Basic "+base64Of("ci:"+password) || len(i.requests()) > 0 {
			t.Errorf("the header is %q", used.Header.Reveal())
		}
		if got := authorize(t, a, nobody, pull); got != "" {
			t.Errorf("whoever has no credentials sends %q", got)
		}
		err := a.Challenged(challenge(line), used, ci, pull)
		refused(t, err, registry.ErrUnauthorized, "HTTP 401", "were refused", "~/.docker/config.json", "ghcr.io/acme/app")
	}
}

func TestBasicWithNothingToGive(t *testing.T) {
	for want, c := range map[string]auth.Credential{
		"a user name and a password are wanted: \nThe registry wants a login and there was none":                                                               nobody,
		"there is only a token: \nthe identity token, from ~/.docker/config.json. This registry takes a user name and a password and no token: set registries": identity,
		"there is only a token: \nthe registry token, from the caller.":                                                                                        {RegistryToken: registryToken},
	} {
		a := auth.NewAuthorizer(options(&issuer{}))
		err := a.Challenged(challenge("Basic"), auth.Authorization{}, c, pull)
		refused(t, err, registry.ErrUnauthorized, strings.Split(want, ": \n")...)
	}
}

func TestARegistryTokenIsUsedAsItIs(t *testing.T) {
	i := &issuer{}
	c := auth.Credential{RegistryToken: registryToken, Source: "docker_config_json"}
	a := challenged(t, options(i), ghcr, c, pull)
	used := authorization(t, a, c, pull)
	if used.Header != "Bearer "+registryToken || len(i.requests()) > 0 {
		t.Errorf("the header is %q after %d token requests", used.Header.Reveal(), len(i.requests()))
	}
	refused(t, a.Challenged(ghcr, used, c, pull), registry.ErrUnauthorized, "the registry token was refused", "docker_config_json")

	// It goes to the registry and to no realm, so that the realm does not matter.
	challenged(t, options(i), bearerAt("https://attacker.example/"), c, pull)
}

func TestARegistryTokenThatNoHeaderCanCarry(t *testing.T) {
	c := auth.Credential{RegistryToken: registryToken + "\r\nX: y", Source: "docker_config_json"}
	a := challenged(t, options(&issuer{}), ghcr, c, pull)
	_, err := a.Authorize(t.Context(), c, pull)
	refused(t, err, registry.ErrCredentials, "no header can carry", "docker_config_json")
}

func TestWhichChallengeIsAnswered(t *testing.T) {
	basic := "Basic " + base64Of("ci:"+password)
	for name, test := range map[string]struct {
		lines []string
		want  string
	}{
		"Bearer before Basic":           {[]string{`Basic realm="x", Bearer realm="https://ghcr.io/token"`}, "Bearer token-1"},
		"Bearer before others":          {[]string{"Negotiate", `Bearer realm="https://ghcr.io/token"`}, "Bearer token-1"},
		"a realm that is allowed":       {[]string{`Bearer realm="https://attacker.example/"`, `Bearer realm="https://ghcr.io/token"`}, "Bearer token-1"},
		"Basic where the realm is not":  {[]string{`Bearer realm="https://attacker.example/"`, "Basic"}, basic},
		"Basic where there is no realm": {[]string{"Bearer, Basic"}, basic},
	} {
		t.Run(name, func(t *testing.T) {
			a := challenged(t, options(&issuer{}), challenge(test.lines...), ci, pull)
			if got := authorize(t, a, ci, pull); got != test.want {
				t.Errorf("the header is %q", got)
			}
		})
	}
}

func TestChallengesThatCannotBeAnswered(t *testing.T) {
	a := auth.NewAuthorizer(options(&issuer{}))
	refused(t, a.Challenged(nil, auth.Authorization{}, ci, pull), registry.ErrUnauthorized, "HTTP 401", "no WWW-Authenticate header", "so that no login was sent")
	refused(t, a.Challenged(challenge("Negotiate", "Digest nonce=x"), auth.Authorization{}, ci, pull), registry.ErrUnauthorized, "negotiate or digest", "only Basic and Bearer")
	refused(t, a.Challenged(challenge(`Bearer realm="https://attacker.example/", Basic`), auth.Authorization{}, identity, pull), registry.ErrForbiddenRedirect, "attacker.example")
	refused(t, a.Challenged(challenge("Bearer realm="), auth.Authorization{}, ci), registry.ErrProtocol, "ghcr.io: cannot")
}

func TestATokenServesEverythingThatItCovers(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), ghcr, ci, pull)
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
			t.Errorf("%v gets %q, not %q", step.scopes, got, step.want)
		}
	}
}

func TestATokenServesNobodyElse(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), ghcr, ci, pull)
	for n, c := range []auth.Credential{
		ci, nobody, identity, {Username: "other", Password: password}, {Username: "ci", Password: "other"}, {Username: "ci", Password: password, IdentityToken: "x"},
	} {
		if got, want := authorize(t, a, c, pull), fmt.Sprintf("Bearer token-%d", n+1); got != want {
			t.Errorf("credential %d gets %q", n, got)
		}
	}
	// Where the same credential was found does not matter.
	if got := authorize(t, a, auth.Credential{Username: "ci", Password: password, Source: "elsewhere"}, pull); got != "Bearer token-1" {
		t.Errorf("the same credential gets %q", got)
	}
}

func TestARefusedTokenIsReplaced(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), ghcr, ci, pull)
	first := authorization(t, a, ci, pull)
	if err := a.Challenged(ghcr, first, ci, pull); err != nil {
		t.Fatal(err)
	}
	second := authorize(t, a, ci, pull)
	if second != "Bearer token-2" {
		t.Errorf("the second token is %q", second)
	}
	// A request that went out with the first one comes back late, after one for
	// something else was refused.
	other := auth.Scope{Repository: "base/os", Actions: []string{"pull"}}
	if err := a.Challenged(ghcr, authorization(t, a, ci, other), ci, other); err != nil {
		t.Fatal(err)
	}
	if err := a.Challenged(ghcr, first, ci, pull); err != nil {
		t.Fatal(err)
	}
	if got := authorize(t, a, ci, pull); got != second {
		t.Errorf("the second token was dropped for the first: %q", got)
	}
	// So does one that went out before there was a token.
	if err := a.Challenged(ghcr, auth.Authorization{}, ci, pull); err != nil {
		t.Fatal(err)
	}
	if got := authorize(t, a, ci, pull); got != second {
		t.Errorf("the second token was dropped for none: %q", got)
	}
}

// A registry that has a new key refuses all tokens that there are. A request is
// not tried with one after the other, and those for something else are left alone.
func TestARefusedTokenTakesThoseWithItThatServeTheSame(t *testing.T) {
	base := auth.Scope{Repository: "base/os", Actions: []string{"pull"}}
	next := auth.Scope{Repository: "next/app", Actions: []string{"pull"}}
	a := challenged(t, options(&issuer{}), ghcr, ci, pull)
	for _, scopes := range [][]auth.Scope{{next}, {pull}, {push}, {pull, base}} {
		authorize(t, a, ci, scopes...)
	}
	used := authorization(t, a, ci, pull)
	if used.Header != "Bearer token-4" {
		t.Errorf("%q was used, which is not the last", used.Header.Reveal())
	}
	// One that was on its way when the key changed.
	authorize(t, a, ci, pull, auth.Scope{Repository: "late/app", Actions: []string{"pull"}})
	if err := a.Challenged(ghcr, used, ci, pull); err != nil {
		t.Fatal(err)
	}
	if got := authorize(t, a, ci, pull); got != "Bearer token-6" {
		t.Errorf("%q is used, which was there before one was refused", got)
	}
	if got := authorize(t, a, ci, next); got != "Bearer token-1" {
		t.Errorf("%q is used for what nobody was refused", got)
	}
}

func TestARefusedTokenOfOneCredentialStaysWithAnother(t *testing.T) {
	i := answering(200, `{"token": "same"}`)
	a := challenged(t, options(i), ghcr, ci, pull)
	used := authorization(t, a, ci, pull)
	authorize(t, a, nobody, pull)
	if err := a.Challenged(ghcr, used, ci, pull); err != nil {
		t.Fatal(err)
	}
	authorize(t, a, nobody, pull)
	if n := len(i.requests()); n != 2 {
		t.Errorf("%d tokens were fetched", n)
	}
}

func TestExpiredTokensAreForgotten(t *testing.T) {
	i, clock := &issuer{}, newClock()
	o := options(i)
	o.Now = clock.Now
	a := challenged(t, o, ghcr, ci, pull)
	authorize(t, a, ci, pull)
	authorize(t, a, nobody, pull)
	clock.pass(time.Hour)
	if got := authorize(t, a, ci, pull); got != "Bearer token-3" {
		t.Errorf("after an hour it is %q", got)
	}
	if got := authorize(t, a, nobody, pull); got != "Bearer token-4" {
		t.Errorf("after an hour it is %q", got)
	}
}

// The scope of a challenge adds nothing to what an operation needs, whatever form it has.
func TestAuthorizer_ChallengeScope(t *testing.T) {
	for _, challenged := range []string{
		"", "*", "nonsense", "registry:catalog:*", "repository:acme/app:pull", "repository:acme/app:pull,push", "repository:acme/app:delete,pull",
		"repository:acme/app:*", "repository(plugin):acme/app:push", "repository:secret/app:pull", "repository:acme/app:pull repository:secret/app:pull,push",
	} {
		for name, c := range map[string]auth.Credential{"a password": ci, "an identity token": identity, "nobody": nobody} {
			i := &issuer{}
			a := auth.NewAuthorizer(options(i))
			header := challenge(`Bearer realm="https://ghcr.io/token",scope="` + challenged + `"`)
			used := auth.Authorization{}
			// Also when a registry refuses a token and names what it lacks.
			for range 2 {
				if err := a.Challenged(header, used, c, pull); err != nil {
					t.Fatalf("Challenged(%q) as %s: %v", challenged, name, err)
				}
				used = authorization(t, a, c, pull)
				req := i.last(t)
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

// TestABasicChallengeAfterARefusedToken is how Harbor answers: it takes the
// header for a sign that the client does not speak Bearer.
func TestABasicChallengeAfterARefusedToken(t *testing.T) {
	harbor := challenge(`Basic realm="harbor"`)
	for name, test := range map[string]struct {
		credential auth.Credential
		want       string
	}{
		"anonymous":              {nobody, "Bearer token-2"},
		"identity token":         {identity, "Bearer token-2"},
		"user name and password": {ci, "Basic " + base64Of("ci:"+password)},
	} {
		t.Run(name, func(t *testing.T) {
			a := challenged(t, options(&issuer{}), ghcr, test.credential, pull)
			if err := a.Challenged(harbor, authorization(t, a, test.credential, pull), test.credential, pull); err != nil {
				t.Fatal(err)
			}
			if got := authorize(t, a, test.credential, pull); got != test.want {
				t.Errorf("the header is %q", got)
			}
		})
	}
}

func TestARegistryCanChangeItsMind(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), challenge("Basic"), ci, pull)
	used := authorization(t, a, ci, pull)
	if err := a.Challenged(ghcr, used, ci, pull); err != nil {
		t.Fatal(err)
	}
	if got := authorize(t, a, ci, pull); got != "Bearer token-1" {
		t.Errorf("the header is %q", got)
	}
	if err := a.Challenged(bearerAt("https://ghcr.io/elsewhere"), auth.Authorization{}, nobody, pull); err != nil {
		t.Fatal(err)
	}
	authorize(t, a, nobody, pull)
	if got := i.last(t).URL.Path; got != "/elsewhere" {
		t.Errorf("the realm is %q", got)
	}
}

// TestABadChallengeSpoilsNothing has one answer point elsewhere, as a proxy in
// between may.
func TestABadChallengeSpoilsNothing(t *testing.T) {
	a := challenged(t, options(&issuer{}), ghcr, ci, pull)
	for _, bad := range []http.Header{bearerAt("https://attacker.example/"), bearerAt("/x"), challenge("Digest"), nil} {
		if err := a.Challenged(bad, auth.Authorization{}, ci, pull); err == nil {
			t.Fatalf("%v was accepted", bad)
		}
	}
	if got := authorize(t, a, ci, pull); got != "Bearer token-1" {
		t.Errorf("the header is %q", got)
	}
}

// A token of each of many repositories is more than is kept: the latest is at hand,
// and the first is fetched again.
func TestTokensAreNotKeptWithoutEnd(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), ghcr, ci)
	of := func(n int) auth.Scope {
		return auth.Scope{Repository: fmt.Sprintf("acme/%d", n), Actions: []string{"pull"}}
	}
	const repositories = 1000
	for n := range repositories {
		authorize(t, a, ci, of(n))
	}
	authorize(t, a, ci, of(repositories-1))
	if n := len(i.requests()); n != repositories {
		t.Errorf("%d tokens were fetched for %d repositories", n, repositories)
	}
	authorize(t, a, ci, of(0))
	if n := len(i.requests()); n != repositories+1 {
		t.Error("the first of all tokens is still there")
	}
}
