package auth_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// steppedIssuer returns an issuer whose responses wait until release is called with the number
// of their request.
func steppedIssuer() (i *issuer, release func(n int)) {
	gates := map[int]chan struct{}{1: make(chan struct{}), 2: make(chan struct{}), 3: make(chan struct{})}
	i = &issuer{}
	i.handler = func(w http.ResponseWriter, _ *http.Request) {
		n := len(i.requests())
		<-gates[n]
		fmt.Fprintf(w, `{"token": "token-%d"}`, n)
	}
	return i, func(n int) {
		close(gates[n])
		synctest.Wait()
	}
}

// A registry with a new key also refuses tokens that were issued earlier and have not arrived
// yet. A request must not be retried with them.
func TestAuthorize_DiscardsTokensOlderThanRefusal(t *testing.T) {
	for name, test := range map[string]struct {
		used, late int // numbers of the tokens: 1 is for pull, 2 for pull and push
	}{
		"late_token_covers_more": {used: 1, late: 2},
		"late_token_covers_less": {used: 2, late: 1},
	} {
		for _, arrival := range []string{"before_refusal", "after_refusal", "after_next_token"} {
			t.Run(name+"_"+arrival, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					i, release := steppedIssuer()
					releaseLate := func(now string) {
						if now == arrival {
							release(test.late)
						}
					}
					a := challenged(t, options(i), ghcrChallenge, ci, pull)
					var wg sync.WaitGroup
					callers := map[int]*caller{}
					for n, scope := range []auth.Scope{pull, push} {
						callers[n+1] = startCaller(t.Context(), &wg, a, ci, scope)
						synctest.Wait()
					}
					release(test.used)
					releaseLate("before_refusal")
					if err := a.Challenged(ghcrChallenge, callers[test.used].result, ci, pull); err != nil {
						t.Fatal(err)
					}
					releaseLate("after_refusal")
					next := startCaller(t.Context(), &wg, a, ci, pull)
					synctest.Wait()
					release(3)
					releaseLate("after_next_token")
					wg.Wait()
					if next.header != "Bearer token-3" || next.err != nil {
						t.Fatalf("Authorize() after a refusal = %q, %v; want token-3", next.header, next.err)
					}
					// A request with the late token is refused too.
					if err := a.Challenged(ghcrChallenge, callers[test.late].result, ci, pull); err != nil {
						t.Fatal(err)
					}
					if got := authorize(t, a, ci, pull); got != next.header {
						t.Errorf("Authorize() = %q, want %q", got, next.header)
					}
				})
			})
		}
	}
}

// Two tokens are in use, of which one covers more scopes. The registry refuses both, for requests
// that one or both of them cover.
func TestChallenged_RefusalsOfSeveralTokens(t *testing.T) {
	type refusal struct {
		token int
		scope auth.Scope
	}
	for name, test := range map[string]struct {
		refusals []refusal
		next     auth.Scope // requested after the first refusal
		fetched  int
	}{
		"scope_of_both":           {[]refusal{{1, pull}, {2, pull}, {1, pull}, {2, pull}}, pull, 3},
		"scope_of_one":            {[]refusal{{2, push}, {1, pull}, {2, pull}, {2, push}}, push, 3},
		"one_token_smaller_scope": {[]refusal{{2, pull}, {2, push}, {2, pull}, {2, push}}, push, 3},
		"smaller_scope_first":     {[]refusal{{2, pull}, {2, push}, {2, pull}, {2, push}}, pull, 4},
	} {
		t.Run(name, func(t *testing.T) {
			i := &issuer{}
			a := challenged(t, options(i), ghcrChallenge, ci, pull)
			used := map[int]auth.Authorization{1: authorization(t, a, ci, pull), 2: authorization(t, a, ci, push)}
			for n, r := range test.refusals {
				if err := a.Challenged(ghcrChallenge, used[r.token], ci, r.scope); err != nil {
					t.Fatal(err)
				}
				if n == 0 {
					authorize(t, a, ci, test.next)
				}
				authorize(t, a, ci, r.scope)
			}
			if n := len(i.requests()); n != test.fetched {
				t.Errorf("%d tokens were fetched, want %d", n, test.fetched)
			}
		})
	}
}
