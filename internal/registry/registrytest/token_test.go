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

// requestToken requests a token with GET, as a client does.
func requestToken(t *testing.T, s *registrytest.TokenServer, user, password string, scopes ...string) (status int, token string) {
	t.Helper()
	query := url.Values{"service": {s.Service}, "scope": scopes}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"?"+query.Encode(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	return readToken(t, req)
}

// postToken requests a token with an OAuth 2 form.
func postToken(t *testing.T, s *registrytest.TokenServer, form url.Values) (status int, token string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return readToken(t, req)
}

func readToken(t *testing.T, req *http.Request) (status int, token string) {
	t.Helper()
	res, err := new(http.Client).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var response struct{ Token string }
	if err := json.NewDecoder(res.Body).Decode(&response); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, response.Token
}

// getWithToken sends a GET request with a token and returns the response.
func getWithToken(t *testing.T, reg *registrytest.Registry, path, token string) *http.Response {
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

func TestTokenAuth_VerifiesTokens(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start starter) {
		tokens := registrytest.NewTokenServer(t)
		tokens.User, tokens.Password = "ci", "secret"
		reg := start(t, registrytest.TokenAuth(tokens))
		pushed := reg.Push(t, "app", "1.0", registrytest.MultiArch("a"))
		registrytest.Same(t, pushed.Tree, reg.Read(t, "app", "1.0"))
		if requests := tokens.Requests(); len(requests) != 0 {
			t.Errorf("token requests of Push() and Read() = %v, want none", requests)
		}

		unauthorized := getWithToken(t, reg, "/v2/app/tags/list", "")
		want := fmt.Sprintf(`Bearer realm=%q,service="registrytest",scope="repository:app:pull"`, tokens.URL)
		if challenge := unauthorized.Header.Get("WWW-Authenticate"); unauthorized.StatusCode != 401 || challenge != want {
			t.Errorf("response without a token = %s, %s, want 401, %s", unauthorized.Status, challenge, want)
		}
		_, valid := requestToken(t, tokens, "ci", "secret", "repository:app:pull")
		_, other := requestToken(t, tokens, "ci", "secret", "repository:other:pull")
		tokens.Lifetime = -2 * time.Minute
		_, expired := requestToken(t, tokens, "ci", "secret", "repository:app:pull")
		_, otherServer := requestToken(t, registrytest.NewTokenServer(t), "ci", "secret", "repository:app:pull")
		for name, c := range map[string]struct {
			token string
			want  int
		}{
			"valid": {valid, 200}, "other_repository": {other, 401}, "expired": {expired, 401},
			"other_server": {otherServer, 401}, "malformed": {"junk", 401}, "tampered": {valid[:len(valid)-4] + "AAAA", 401},
		} {
			if res := getWithToken(t, reg, "/v2/app/tags/list", c.token); res.StatusCode != c.want {
				t.Errorf("response with token %s = %s, want %d", name, res.Status, c.want)
			}
		}
	})
}

func TestTokenServer_Authentication(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	if status, _ := requestToken(t, tokens, "", ""); status != 200 {
		t.Errorf("status of an anonymous request = %d, want 200", status)
	}
	tokens.User, tokens.Password, tokens.IdentityToken = "ci", "secret", "refresh"
	for name, c := range map[string]struct {
		form url.Values
		want int
	}{
		"password":             {url.Values{"grant_type": {"password"}, "username": {"ci"}, "password": {"secret"}}, 200},
		"wrong_password":       {url.Values{"grant_type": {"password"}, "username": {"ci"}, "password": {"guess"}}, 401},
		"identity_token":       {url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"refresh"}}, 200},
		"wrong_identity_token": {url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"guess"}}, 401},
		"no_credentials":       {url.Values{}, 401},
	} {
		if status, token := postToken(t, tokens, c.form); status != c.want || (token != "") != (c.want == 200) {
			t.Errorf("%s: status = %d with token %q, want %d", name, status, token, c.want)
		}
	}
	if status, _ := requestToken(t, tokens, "ci", "guess"); status != 401 {
		t.Errorf("status of GET with a wrong password = %d, want 401", status)
	}
}

func TestTokenServer_RecordsRequests(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	tokens.IdentityToken = "refresh"
	requestToken(t, tokens, "ci", "secret", "repository:a:pull", "repository:b:pull,push")
	postToken(t, tokens, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {"wrong"}, "service": {"registrytest"}, "client_id": {"me"},
		"scope": {"repository:a:pull repository:b:pull"},
	})
	got := tokens.Requests()
	if len(got) != 2 {
		t.Fatalf("len(Requests()) = %d, want 2", len(got))
	}
	first, second := got[0], got[1]
	if first.Method != "GET" || first.Service != "registrytest" || first.User != "ci" || first.Password != "secret" || first.Status != 200 ||
		!slices.Equal(first.Scopes, []string{"repository:a:pull", "repository:b:pull,push"}) || first.Header.Get("Authorization") == "" {
		t.Errorf("Requests()[0] = %+v", first)
	}
	if second.Method != "POST" || second.GrantType != "refresh_token" || second.RefreshToken != "wrong" || second.ClientID != "me" || second.Status != 401 ||
		!slices.Equal(second.Scopes, []string{"repository:a:pull", "repository:b:pull"}) {
		t.Errorf("Requests()[1] = %+v", second)
	}
}

func TestTokenServer_Allow(t *testing.T) {
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
		status, token := requestToken(t, tokens, c.user, "secret", "repository:"+c.repo+":pull,push")
		if status != 200 {
			t.Fatalf("status of the token request of %q for %s = %d, want 200", c.user, c.repo, status)
		}
		if res := getWithToken(t, reg, "/v2/"+c.repo+"/tags/list", token); res.StatusCode != c.want {
			t.Errorf("response to %q for %s = %s, want %d", c.user, c.repo, res.Status, c.want)
		}
	}
}

func TestTokenAuth_MountScopes(t *testing.T) {
	everyRegistry(t, func(t *testing.T, _ string, start starter) {
		tokens := registrytest.NewTokenServer(t)
		reg := start(t, registrytest.TokenAuth(tokens))
		blob := registrytest.Layer("a", 100)
		reg.PushBlob(t, "from", blob)
		path := fmt.Sprintf("/v2/to/blobs/uploads/?mount=%s&from=from", blob.Descriptor().Digest)
		mount := func(scopes ...string) *http.Response {
			_, token := requestToken(t, tokens, "", "", scopes...)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, reg.URL()+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			return send(t, req)
		}
		unauthorized := mount("repository:to:pull,push")
		challenge := unauthorized.Header.Get("WWW-Authenticate")
		if unauthorized.StatusCode != 401 || !strings.Contains(challenge, "repository:from:pull") || !strings.Contains(challenge, "repository:to:p") {
			t.Errorf("mount with one scope = %s with challenge %s", unauthorized.Status, challenge)
		}
		if res := mount("repository:to:pull,push", "repository:from:pull"); res.StatusCode != http.StatusCreated {
			t.Errorf("mount with both scopes = %s, want 201", res.Status)
		}
	})
}

func TestTokenServer_TLS(t *testing.T) {
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
		t.Fatalf("Get(%s) = %v", tokens.URL, err)
	}
	_ = res.Body.Close()
}

func TestTokenServer_Answer(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	tokens.Answer = func(w http.ResponseWriter, r registrytest.TokenRequest, token string) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprintf(w, `{"token":%q}`, r.User+" "+token[:2])
	}
	if status, token := requestToken(t, tokens, "ci", "x"); status != http.StatusTeapot || token != "ci ey" {
		t.Errorf("response = %d with token %q, want 418 with \"ci ey\"", status, token)
	}
}

func TestScripted_OwnTokenEndpoint(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	reg := registrytest.Scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	tokens.URL = reg.URL() + "/token"
	reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
	_, token := requestToken(t, tokens, "", "", "repository:app:pull")
	if res := getWithToken(t, reg, "/v2/app/tags/list", token); res.StatusCode != http.StatusOK {
		t.Errorf("status with the token = %s, want 200", res.Status)
	}
	if len(tokens.Requests()) != 1 {
		t.Errorf("token requests = %d, want 1", len(tokens.Requests()))
	}
}
