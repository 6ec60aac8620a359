package registrytest_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// ask asks a token server by GET, as a client does, and returns the token.
func ask(t *testing.T, s *registrytest.TokenServer, user, password string, scopes ...string) (status int, token string) {
	t.Helper()
	query := url.Values{"service": {s.Service}, "scope": scopes}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"?"+query.Encode(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	return answerOf(t, req)
}

// post asks a token server with an OAuth 2 form.
func post(t *testing.T, s *registrytest.TokenServer, form url.Values) (status int, token string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return answerOf(t, req)
}

func answerOf(t *testing.T, req *http.Request) (status int, token string) {
	t.Helper()
	res, err := new(http.Client).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct{ Token string }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, answer.Token
}

// with is the status of a GET that brings a token.
func with(t *testing.T, reg *registrytest.Registry, path, token string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, reg.URL()+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return send(t, req)
}

func TestTokensAreVerified(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start starter) {
		tokens := registrytest.NewTokenServer(t)
		tokens.User, tokens.Password = "ci", "secret"
		reg := start(t, registrytest.TokenAuth(tokens))
		pushed := reg.Push(t, "app", "1.0", registrytest.MultiArch("a"))
		registrytest.Same(t, pushed.Tree, reg.Read(t, "app", "1.0"))
		if asked := tokens.Requests(); len(asked) != 0 {
			t.Errorf("setting up asked the token server: %v", asked)
		}

		refused := with(t, reg, "/v2/app/tags/list", "")
		want := fmt.Sprintf(`Bearer realm=%q,service="registrytest",scope="repository:app:pull"`, tokens.URL)
		if challenge := refused.Header.Get("WWW-Authenticate"); refused.StatusCode != 401 || challenge != want {
			t.Errorf("without a token: %s, %s, want 401, %s", refused.Status, challenge, want)
		}
		_, good := ask(t, tokens, "ci", "secret", "repository:app:pull")
		_, other := ask(t, tokens, "ci", "secret", "repository:other:pull")
		tokens.Lifetime = -2 * time.Minute
		_, stale := ask(t, tokens, "ci", "secret", "repository:app:pull")
		_, foreign := ask(t, registrytest.NewTokenServer(t), "ci", "secret", "repository:app:pull")
		for name, c := range map[string]struct {
			token string
			want  int
		}{
			"good": {good, 200}, "for another repository": {other, 401}, "expired": {stale, 401},
			"of another server": {foreign, 401}, "junk": {"junk", 401}, "tampered with": {good[:len(good)-4] + "AAAA", 401},
		} {
			if res := with(t, reg, "/v2/app/tags/list", c.token); res.StatusCode != c.want {
				t.Errorf("a token that is %s: %s, want %d", name, res.Status, c.want)
			}
		}
	})
}

func TestTokenServerAuthenticates(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	if status, _ := ask(t, tokens, "", ""); status != 200 {
		t.Errorf("nobody, where everybody may: %d", status)
	}
	tokens.User, tokens.Password, tokens.IdentityToken = "ci", "secret", "refresh"
	for name, c := range map[string]struct {
		form url.Values
		want int
	}{
		"password":              {url.Values{"grant_type": {"password"}, "username": {"ci"}, "password": {"secret"}}, 200},
		"wrong password":        {url.Values{"grant_type": {"password"}, "username": {"ci"}, "password": {"guess"}}, 401},
		"identity token":        {url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"refresh"}}, 200},
		"wrong identity token":  {url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"guess"}}, 401},
		"nothing in particular": {url.Values{}, 401},
	} {
		if status, token := post(t, tokens, c.form); status != c.want || (token != "") != (c.want == 200) {
			t.Errorf("%s: %d with the token %q, want %d", name, status, token, c.want)
		}
	}
	if status, _ := ask(t, tokens, "ci", "guess"); status != 401 {
		t.Errorf("a wrong password by GET: %d", status)
	}
}

func TestTokenServerRecords(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	tokens.IdentityToken = "refresh"
	ask(t, tokens, "ci", "secret", "repository:a:pull", "repository:b:pull,push")
	post(t, tokens, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {"wrong"}, "service": {"registrytest"}, "client_id": {"me"},
		"scope": {"repository:a:pull repository:b:pull"},
	})
	got := tokens.Requests()
	if len(got) != 2 {
		t.Fatalf("%d requests, want 2", len(got))
	}
	first, second := got[0], got[1]
	if first.Method != "GET" || first.Service != "registrytest" || first.User != "ci" || first.Password != "secret" || first.Status != 200 ||
		!slices.Equal(first.Scopes, []string{"repository:a:pull", "repository:b:pull,push"}) || first.Header.Get("Authorization") == "" {
		t.Errorf("the first is %+v", first)
	}
	if second.Method != "POST" || second.GrantType != "refresh_token" || second.RefreshToken != "wrong" || second.ClientID != "me" || second.Status != 401 ||
		!slices.Equal(second.Scopes, []string{"repository:a:pull", "repository:b:pull"}) {
		t.Errorf("the second is %+v", second)
	}
}

func TestAllowLimitsWhatATokenGrants(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	tokens.User, tokens.Password = "ci", "secret"
	tokens.Allow = func(user, repo, action string) bool { return action == "pull" && (user == "ci" || repo == "public") }
	reg := registrytest.V3(t, registrytest.TokenAuth(tokens))
	for _, repo := range []string{"public", "private"} {
		reg.Push(t, repo, "1.0", registrytest.Image{Seed: "a"})
	}
	for _, c := range []struct {
		user, repo string
		want       int
	}{{"", "public", 200}, {"", "private", 401}, {"ci", "private", 200}} {
		status, token := ask(t, tokens, c.user, "secret", "repository:"+c.repo+":pull,push")
		if status != 200 {
			t.Fatalf("%q asking for %s: %d", c.user, c.repo, status)
		}
		if res := with(t, reg, "/v2/"+c.repo+"/tags/list", token); res.StatusCode != c.want {
			t.Errorf("%q reading %s: %s, want %d", c.user, c.repo, res.Status, c.want)
		}
	}
}

func TestAMountNeedsATokenForBoth(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start starter) {
		tokens := registrytest.NewTokenServer(t)
		reg := start(t, registrytest.TokenAuth(tokens))
		blob := registrytest.Layer("a", 100)
		reg.PushBlob(t, "from", blob)
		path := fmt.Sprintf("/v2/to/blobs/uploads/?mount=%s&from=from", blob.Descriptor().Digest)
		mount := func(scopes ...string) *http.Response {
			_, token := ask(t, tokens, "", "", scopes...)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, reg.URL()+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			return send(t, req)
		}
		refused := mount("repository:to:pull,push")
		challenge := refused.Header.Get("WWW-Authenticate")
		if refused.StatusCode != 401 || !strings.Contains(challenge, "repository:from:pull") || !strings.Contains(challenge, "repository:to:p") {
			t.Errorf("with one scope: %s, challenged with %s", refused.Status, challenge)
		}
		if res := mount("repository:to:pull,push", "repository:from:pull"); res.StatusCode != http.StatusCreated {
			t.Errorf("with both scopes: %s", res.Status)
		}
	})
}

func TestTokenServerSpeaksTLS(t *testing.T) {
	tokens := registrytest.NewTokenServer(t, registrytest.TLS())
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(tokens.CA)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tokens.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil || !strings.HasPrefix(tokens.URL, "https://") {
		t.Fatalf("%s: %v", tokens.URL, err)
	}
	_ = res.Body.Close()
}

func TestAnswerReplacesTheTokenServersOwn(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	tokens.Answer = func(w http.ResponseWriter, r registrytest.TokenRequest, token string) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprintf(w, `{"token":%q}`, r.User+" "+token[:2])
	}
	if status, token := ask(t, tokens, "ci", "x"); status != http.StatusTeapot || token != "ci ey" {
		t.Errorf("%d, %q", status, token)
	}
}
