package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3/registry/auth"
)

func TestTokens_Authorized(t *testing.T) {
	pull := auth.Access{Resource: auth.Resource{Type: "repository", Name: "app"}, Action: "pull"}
	push, other := pull, pull
	push.Action, other.Name = "push", "other"
	for name, test := range map[string]struct {
		requested auth.Access
		after     time.Duration
		revoke    bool
		valid     bool
	}{
		"granted":          {pull, tokenLifetime, false, true},
		"other_action":     {push, 0, false, false},
		"other_repository": {other, 0, false, false},
		"expired":          {pull, tokenLifetime + 1, false, false},
		"revoked":          {pull, 0, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tokens := newTokens("http://registry/token")
				token := tokenFor(t, tokens, "repository:app:pull")
				<-time.After(test.after)
				if test.revoke {
					tokens.revoke()
				}
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Header.Set("Authorization", "Bearer "+token)
				_, err := tokens.Authorized(r, test.requested)
				if (err == nil) != test.valid {
					t.Errorf("Authorized() = %v, want valid %t", err, test.valid)
				}
				if challenge, ok := errors.AsType[auth.Challenge](err); ok {
					response := httptest.NewRecorder()
					challenge.SetHeaders(r, response)
					want := `Bearer realm="http://registry/token",service="soak",scope="repository:` + test.requested.Name + ":" + test.requested.Action + `"`
					if got := response.Header().Get("WWW-Authenticate"); got != want {
						t.Errorf("challenge = %s, want %s", got, want)
					}
				}
			})
		})
	}
}

func TestTokens_RevokeInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pull := auth.Access{Resource: auth.Resource{Type: "repository", Name: "app"}, Action: "pull"}
		tokens := newTokens("http://registry/token")
		tokens.revoke()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+tokenFor(t, tokens, "repository:app:pull"))
		for _, key := range []struct {
			interval time.Duration
			valid    bool
		}{{minKeyLifetime - 1, true}, {1, false}} {
			<-time.After(key.interval)
			tokens.revoke()
			if _, err := tokens.Authorized(r, pull); (err == nil) != key.valid {
				t.Errorf("Authorized() after another %s = %v", key.interval, err)
			}
		}
	})
}

// tokenFor requests a token with valid credentials.
func tokenFor(t *testing.T, tokens *tokens, scope string) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/token?scope="+scope, nil)
	r.SetBasicAuth(user, password)
	response := httptest.NewRecorder()
	tokens.ServeHTTP(response, r)
	var issued struct{ Token string }
	if err := json.NewDecoder(response.Body).Decode(&issued); err != nil || issued.Token == "" {
		t.Fatalf("token response = %s, %v", response.Body, err)
	}
	return issued.Token
}
