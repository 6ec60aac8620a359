package auth_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// held is an issuer whose answers wait until they are let through, each by the
// number of its request.
func held() (i *issuer, let func(n int)) {
	answers := map[int]chan struct{}{1: make(chan struct{}), 2: make(chan struct{}), 3: make(chan struct{})}
	i = &issuer{}
	i.answer = func(w http.ResponseWriter, _ *http.Request) {
		n := len(i.requests())
		<-answers[n]
		fmt.Fprintf(w, `{"token": "token-%d"}`, n)
	}
	return i, func(n int) {
		close(answers[n])
		synctest.Wait()
	}
}

// A registry that has a new key refuses the tokens too that were made before it and
// are still on their way, so that a request would be refused again and again.
func TestNoTokenServesThatWasAskedForBeforeOneWasRefused(t *testing.T) {
	for name, test := range map[string]struct {
		used, late int // of two that are asked for, for pulling and for that and pushing
	}{
		"one that serves more": {used: 1, late: 2},
		"one that serves less": {used: 2, late: 1},
	} {
		for _, comes := range []string{"before the refusal", "after it", "after the next one"} {
			t.Run(name+" and comes "+comes, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					i, let := held()
					letLate := func(now string) {
						if now == comes {
							let(test.late)
						}
					}
					a := challenged(t, options(i), ghcr, ci, pull)
					var wg sync.WaitGroup
					callers := map[int]*caller{}
					for n, scope := range []auth.Scope{pull, push} {
						callers[n+1] = call(t.Context(), &wg, a, ci, scope)
						synctest.Wait()
					}
					let(test.used)
					letLate("before the refusal")
					if err := a.Challenged(ghcr, callers[test.used].given, ci, pull); err != nil {
						t.Fatal(err)
					}
					letLate("after it")
					next := call(t.Context(), &wg, a, ci, pull)
					synctest.Wait()
					let(3)
					letLate("after the next one")
					wg.Wait()
					if next.header != "Bearer token-3" || next.err != nil {
						t.Fatalf("what follows a refusal gets %q, %v", next.header, next.err)
					}
					// Whoever waited for the late one is refused with it.
					if err := a.Challenged(ghcr, callers[test.late].given, ci, pull); err != nil {
						t.Fatal(err)
					}
					if got := authorize(t, a, ci, pull); got != next.header {
						t.Errorf("then %q is used", got)
					}
				})
			})
		}
	}
}

// Requests are under way with a token that serves less than another one, and with
// that, for what one of them serves and for what only the other does.
func TestManyRefusalsOfSeveralTokensCauseOneRefreshOfEach(t *testing.T) {
	type refusal struct {
		token int
		of    auth.Scope
	}
	for name, test := range map[string]struct {
		refusals []refusal
		next     auth.Scope // what is wanted after the first of them
		fetched  int
	}{
		"for what both serve":       {[]refusal{{1, pull}, {2, pull}, {1, pull}, {2, pull}}, pull, 3},
		"for what one serves":       {[]refusal{{2, push}, {1, pull}, {2, pull}, {2, push}}, push, 3},
		"of one token, for less":    {[]refusal{{2, pull}, {2, push}, {2, pull}, {2, push}}, push, 3},
		"for less, and then for it": {[]refusal{{2, pull}, {2, push}, {2, pull}, {2, push}}, pull, 4},
	} {
		t.Run(name, func(t *testing.T) {
			i := &issuer{}
			a := challenged(t, options(i), ghcr, ci, pull)
			used := map[int]auth.Authorization{1: authorization(t, a, ci, pull), 2: authorization(t, a, ci, push)}
			for n, r := range test.refusals {
				if err := a.Challenged(ghcr, used[r.token], ci, r.of); err != nil {
					t.Fatal(err)
				}
				if n == 0 {
					authorize(t, a, ci, test.next)
				}
				authorize(t, a, ci, r.of)
			}
			if n := len(i.requests()); n != test.fetched {
				t.Errorf("%d tokens were fetched, not %d", n, test.fetched)
			}
		})
	}
}
