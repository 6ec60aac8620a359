package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// gate is an issuer whose answers wait until they are let through, or until
// nobody waits for them any more.
func gate() (i *issuer, open func()) {
	opened := make(chan struct{})
	i = &issuer{}
	i.answer = func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-opened:
			fmt.Fprintf(w, `{"token": "token-%d", "expires_in": 300}`, len(i.requests()))
		case <-r.Context().Done():
		}
	}
	return i, func() { close(opened) }
}

// caller is one caller of Authorize and what it got.
type caller struct {
	given  auth.Authorization
	header string
	err    error
	done   bool
}

// call starts a caller.
func call(ctx context.Context, wg *sync.WaitGroup, a *auth.Authorizer, c auth.Credential, scopes ...auth.Scope) *caller {
	got := &caller{}
	wg.Go(func() {
		got.given, got.err = a.Authorize(ctx, c, scopes...)
		got.header, got.done = got.given.Header.Reveal(), true
	})
	return got
}

func TestFiftyCallersFetchOneToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, open := gate()
		a := challenged(t, options(i), ghcr, ci, pull)
		var wg sync.WaitGroup
		var callers []*caller
		for range 50 {
			callers = append(callers, call(t.Context(), &wg, a, ci, pull))
		}
		synctest.Wait() // all of them wait for the one request
		if n := len(i.requests()); n != 1 {
			t.Errorf("%d requests are under way", n)
		}
		open()
		wg.Wait()
		for _, c := range callers {
			if c.header != "Bearer token-1" || c.err != nil {
				t.Errorf("a caller got %q, %v", c.header, c.err)
			}
		}
		if n := len(i.requests()); n != 1 {
			t.Errorf("%d tokens were fetched", n)
		}
	})
}

func TestDifferentWantsAreFetchedSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, open := gate()
		a := challenged(t, options(i), ghcr, ci, pull)
		var wg sync.WaitGroup
		call(t.Context(), &wg, a, ci, pull)
		call(t.Context(), &wg, a, ci, push)
		call(t.Context(), &wg, a, nobody, pull)
		call(t.Context(), &wg, a, ci, push, pull)
		synctest.Wait()
		if n := len(i.requests()); n != 3 {
			t.Errorf("%d requests are under way", n)
		}
		open()
		wg.Wait()
	})
}

func TestAWaiterThatLeavesDisturbsNobody(t *testing.T) {
	for _, name := range []string{"the first", "another"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i, open := gate()
				a := challenged(t, options(i), ghcr, ci, pull)
				reason := errors.New("interrupted")
				leaving, leave := context.WithCancelCause(t.Context())
				contexts := []context.Context{leaving, t.Context(), t.Context()}
				if name == "another" {
					contexts[0], contexts[1] = contexts[1], contexts[0]
				}
				var wg sync.WaitGroup
				var callers []*caller
				for _, ctx := range contexts {
					callers = append(callers, call(ctx, &wg, a, ci, pull))
					synctest.Wait() // so that the first is the one who asked
				}
				leave(reason)
				synctest.Wait()
				for n, c := range callers {
					if left := contexts[n] == leaving; c.done != left {
						t.Errorf("caller %d has returned: %v", n, c.done)
					}
				}
				open()
				wg.Wait()
				for n, c := range callers {
					if contexts[n] != leaving {
						if c.header != "Bearer token-1" || c.err != nil {
							t.Errorf("caller %d got %q, %v", n, c.header, c.err)
						}
						continue
					}
					refused(t, c.err, registry.ErrUnavailable, "interrupted", "ghcr.io/acme/app")
					if !errors.Is(c.err, reason) {
						t.Errorf("caller %d got %v", n, c.err)
					}
				}
				if n := len(i.requests()); n != 1 {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
}

// TestARequestThatNobodyWaitsForEnds also shows that whoever comes next is not
// given its error. The bubble fails the test where a goroutine is left.
func TestARequestThatNobodyWaitsForEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, open := gate()
		a := challenged(t, options(i), ghcr, ci, pull)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		first := call(ctx, &wg, a, ci, pull)
		second := call(ctx, &wg, a, ci, pull)
		wg.Wait() // for the minute to pass
		for _, c := range []*caller{first, second} {
			if !errors.Is(c.err, context.DeadlineExceeded) {
				t.Errorf("a caller got %v", c.err)
			}
		}
		synctest.Wait()
		if err := i.requests()[0].Context().Err(); err == nil {
			t.Error("the request is still under way")
		}
		open()
		if got := authorize(t, a, ci, pull); got != "Bearer token-2" {
			t.Errorf("the next caller got %q", got)
		}
	})
}

// TestNobodyJoinsARequestThatWasGivenUp has one that takes its time to end.
func TestNobodyJoinsARequestThatWasGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, ended := &issuer{}, make(chan struct{})
		i.answer = func(w http.ResponseWriter, _ *http.Request) {
			if len(i.requests()) == 1 {
				<-ended
			}
			fmt.Fprintf(w, `{"token": "token-%d"}`, len(i.requests()))
		}
		a := challenged(t, options(i), ghcr, ci, pull)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		call(ctx, &wg, a, ci, pull)
		synctest.Wait()
		cancel()
		wg.Wait()
		next := call(t.Context(), &wg, a, ci, pull)
		synctest.Wait()
		if !next.done || next.header != "Bearer token-2" {
			t.Errorf("the next caller has returned: %v, with %q, %v", next.done, next.header, next.err)
		}
		close(ended)
		wg.Wait()
	})
}

func TestAFailureIsSharedByThoseWhoWaitedAndNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, open := gate()
		gated := i.answer
		i.answer = func(w http.ResponseWriter, r *http.Request) {
			if len(i.requests()) == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			gated(w, r)
		}
		a := challenged(t, options(i), ghcr, ci, pull)
		var wg sync.WaitGroup
		callers := []*caller{call(t.Context(), &wg, a, ci, pull), call(t.Context(), &wg, a, ci, pull)}
		synctest.Wait()
		open()
		wg.Wait()
		for _, c := range callers {
			refused(t, c.err, registry.ErrUnavailable, "HTTP 503")
		}
		if got := authorize(t, a, ci, pull); got != "Bearer token-2" {
			t.Errorf("the next caller got %q", got)
		}
	})
}

// TestManyRefusalsOfOneTokenCauseOneRefresh lets fifty requests come back with
// a 401 for the same token.
func TestManyRefusalsOfOneTokenCauseOneRefresh(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), ghcr, ci, pull)
	used := authorization(t, a, ci, pull)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := a.Challenged(ghcr, used, ci, pull); err != nil {
				t.Error(err)
			}
			if got, err := a.Authorize(t.Context(), ci, pull); got.Header != "Bearer token-2" || err != nil {
				t.Errorf("the new token is %q, %v", got.Header.Reveal(), err)
			}
		})
	}
	wg.Wait()
	if n := len(i.requests()); n != 2 {
		t.Errorf("%d tokens were fetched", n)
	}
}

// TestTheFirstRequestsOfAHostAllGoOutBare has them all answered with a 401.
func TestTheFirstRequestsOfAHostAllGoOutBare(t *testing.T) {
	i := &issuer{}
	a := auth.NewAuthorizer(options(i))
	var bare, done sync.WaitGroup
	bare.Add(50)
	for range 50 {
		done.Go(func() {
			used, err := a.Authorize(t.Context(), ci, pull)
			bare.Done()
			bare.Wait()
			if refusal := a.Challenged(ghcr, used, ci, pull); used.Header != "" || err != nil || refusal != nil {
				t.Errorf("it was sent with %q, %v, %v", used.Header.Reveal(), err, refusal)
			}
			if got, err := a.Authorize(t.Context(), ci, pull); got.Header != "Bearer token-1" || err != nil {
				t.Errorf("the token is %q, %v", got.Header.Reveal(), err)
			}
		})
	}
	done.Wait()
	if n := len(i.requests()); n != 1 {
		t.Errorf("%d tokens were fetched", n)
	}
}

// TestWhatTheFirstCallerCarriesGoesWithTheRequest is how a token request comes
// to be counted where somebody counts.
func TestWhatTheFirstCallerCarriesGoesWithTheRequest(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), ghcr, ci, pull)
	counted := 0
	ctx := registry.WithTrace(t.Context(), registry.Trace{Request: func(registry.Request) { counted++ }})
	if _, err := a.Authorize(ctx, ci, pull); err != nil {
		t.Fatal(err)
	}
	registry.TraceOf(i.last(t).Context()).Request(registry.Request{})
	if counted != 1 {
		t.Error("the trace was lost")
	}
}
