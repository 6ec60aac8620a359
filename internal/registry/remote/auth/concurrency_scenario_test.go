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

// gatedIssuer returns an issuer whose responses wait until open is called, or until their
// requests are canceled.
func gatedIssuer() (i *issuer, open func()) {
	opened := make(chan struct{})
	i = &issuer{}
	i.handler = func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-opened:
			fmt.Fprintf(w, `{"token": "token-%d", "expires_in": 300}`, len(i.requests()))
		case <-r.Context().Done():
		}
	}
	return i, func() { close(opened) }
}

// caller is one caller of Authorize and its result.
type caller struct {
	result auth.Authorization
	header string
	err    error
	done   bool
}

// startCaller starts a caller.
func startCaller(ctx context.Context, wg *sync.WaitGroup, a *auth.Authorizer, c auth.Credential, scopes ...auth.Scope) *caller {
	got := &caller{}
	wg.Go(func() {
		got.result, got.err = a.Authorize(ctx, c, scopes...)
		got.header, got.done = got.result.Header.Reveal(), true
	})
	return got
}

func TestAuthorize_SharesFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, open := gatedIssuer()
		a := challenged(t, options(i), ghcrChallenge, ci, pull)
		var wg sync.WaitGroup
		var callers []*caller
		for range 50 {
			callers = append(callers, startCaller(t.Context(), &wg, a, ci, pull))
		}
		synctest.Wait() // all of them wait for one request
		if n := len(i.requests()); n != 1 {
			t.Errorf("%d token requests are in progress, want 1", n)
		}
		open()
		wg.Wait()
		for _, c := range callers {
			if c.header != "Bearer token-1" || c.err != nil {
				t.Errorf("Authorize() = %q, %v; want token-1", c.header, c.err)
			}
		}
		if n := len(i.requests()); n != 1 {
			t.Errorf("%d tokens were fetched, want 1", n)
		}
	})
}

func TestAuthorize_FetchesDifferentScopesConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, open := gatedIssuer()
		a := challenged(t, options(i), ghcrChallenge, ci, pull)
		var wg sync.WaitGroup
		startCaller(t.Context(), &wg, a, ci, pull)
		startCaller(t.Context(), &wg, a, ci, push)
		startCaller(t.Context(), &wg, a, anonymous, pull)
		startCaller(t.Context(), &wg, a, ci, push, pull)
		synctest.Wait()
		if n := len(i.requests()); n != 3 {
			t.Errorf("%d token requests are in progress, want 3", n)
		}
		open()
		wg.Wait()
	})
}

func TestAuthorize_CanceledCaller(t *testing.T) {
	for _, name := range []string{"first", "another"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i, open := gatedIssuer()
				a := challenged(t, options(i), ghcrChallenge, ci, pull)
				reason := errors.New("interrupted")
				canceled, cancel := context.WithCancelCause(t.Context())
				contexts := []context.Context{canceled, t.Context(), t.Context()}
				if name == "another" {
					contexts[0], contexts[1] = contexts[1], contexts[0]
				}
				var wg sync.WaitGroup
				var callers []*caller
				for _, ctx := range contexts {
					callers = append(callers, startCaller(ctx, &wg, a, ci, pull))
					synctest.Wait() // so that the first one sends the request
				}
				cancel(reason)
				synctest.Wait()
				for n, c := range callers {
					if want := contexts[n] == canceled; c.done != want {
						t.Errorf("caller %d has returned: %t, want %t", n, c.done, want)
					}
				}
				open()
				wg.Wait()
				for n, c := range callers {
					if contexts[n] != canceled {
						if c.header != "Bearer token-1" || c.err != nil {
							t.Errorf("Authorize() of caller %d = %q, %v; want token-1", n, c.header, c.err)
						}
						continue
					}
					assertError(t, c.err, registry.ErrUnavailable, "interrupted", "ghcr.io/acme/app")
					if !errors.Is(c.err, reason) {
						t.Errorf("Authorize() of caller %d error = %v, want the cause", n, c.err)
					}
				}
				if n := len(i.requests()); n != 1 {
					t.Errorf("%d token requests, want 1", n)
				}
			})
		})
	}
}

// The next caller must not get the error of the canceled request. synctest fails the test
// if a goroutine is left.
func TestAuthorize_AllCallersCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, open := gatedIssuer()
		a := challenged(t, options(i), ghcrChallenge, ci, pull)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		first := startCaller(ctx, &wg, a, ci, pull)
		second := startCaller(ctx, &wg, a, ci, pull)
		wg.Wait() // until the timeout
		for _, c := range []*caller{first, second} {
			if !errors.Is(c.err, context.DeadlineExceeded) {
				t.Errorf("Authorize() error = %v, want context.DeadlineExceeded", c.err)
			}
		}
		synctest.Wait()
		if err := i.requests()[0].Context().Err(); err == nil {
			t.Error("the token request was not canceled")
		}
		open()
		if got := authorize(t, a, ci, pull); got != "Bearer token-2" {
			t.Errorf("Authorize() of the next caller = %q, want token-2", got)
		}
	})
}

// The canceled request takes some time to end.
func TestAuthorize_DoesNotJoinCanceledFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, ended := &issuer{}, make(chan struct{})
		i.handler = func(w http.ResponseWriter, _ *http.Request) {
			if len(i.requests()) == 1 {
				<-ended
			}
			fmt.Fprintf(w, `{"token": "token-%d"}`, len(i.requests()))
		}
		a := challenged(t, options(i), ghcrChallenge, ci, pull)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		startCaller(ctx, &wg, a, ci, pull)
		synctest.Wait()
		cancel()
		wg.Wait()
		next := startCaller(t.Context(), &wg, a, ci, pull)
		synctest.Wait()
		if !next.done || next.header != "Bearer token-2" {
			t.Errorf("next caller: done = %t, Authorize() = %q, %v; want token-2", next.done, next.header, next.err)
		}
		close(ended)
		wg.Wait()
	})
}

func TestAuthorize_SharesFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, open := gatedIssuer()
		gated := i.handler
		i.handler = func(w http.ResponseWriter, r *http.Request) {
			if len(i.requests()) == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			gated(w, r)
		}
		a := challenged(t, options(i), ghcrChallenge, ci, pull)
		var wg sync.WaitGroup
		callers := []*caller{startCaller(t.Context(), &wg, a, ci, pull), startCaller(t.Context(), &wg, a, ci, pull)}
		synctest.Wait()
		open()
		wg.Wait()
		for _, c := range callers {
			assertError(t, c.err, registry.ErrUnavailable, "HTTP 503")
		}
		if got := authorize(t, a, ci, pull); got != "Bearer token-2" {
			t.Errorf("Authorize() of the next caller = %q, want token-2", got)
		}
	})
}

// Fifty requests get a 401 for the same token.
func TestChallenged_ConcurrentRefusals(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), ghcrChallenge, ci, pull)
	used := authorization(t, a, ci, pull)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := a.Challenged(ghcrChallenge, used, ci, pull); err != nil {
				t.Error(err)
			}
			if got, err := a.Authorize(t.Context(), ci, pull); got.Header != "Bearer token-2" || err != nil {
				t.Errorf("Authorize() = %q, %v; want token-2", got.Header.Reveal(), err)
			}
		})
	}
	wg.Wait()
	if n := len(i.requests()); n != 2 {
		t.Errorf("%d tokens were fetched, want 2", n)
	}
}

// All of the first requests are sent without authentication, and get a 401.
func TestAuthorize_ConcurrentFirstRequests(t *testing.T) {
	i := &issuer{}
	a := auth.NewAuthorizer(options(i))
	var sent, done sync.WaitGroup
	sent.Add(50)
	for range 50 {
		done.Go(func() {
			used, err := a.Authorize(t.Context(), ci, pull)
			sent.Done()
			sent.Wait()
			if refusal := a.Challenged(ghcrChallenge, used, ci, pull); used.Header != "" || err != nil || refusal != nil {
				t.Errorf("Authorize() = %q, %v, Challenged() error = %v; want no header and no error", used.Header.Reveal(), err, refusal)
			}
			if got, err := a.Authorize(t.Context(), ci, pull); got.Header != "Bearer token-1" || err != nil {
				t.Errorf("Authorize() = %q, %v; want token-1", got.Header.Reveal(), err)
			}
		})
	}
	done.Wait()
	if n := len(i.requests()); n != 1 {
		t.Errorf("%d tokens were fetched, want 1", n)
	}
}

// The trace in the context of the caller counts the token request.
func TestAuthorize_TokenRequestContext(t *testing.T) {
	i := &issuer{}
	a := challenged(t, options(i), ghcrChallenge, ci, pull)
	counted := 0
	ctx := registry.WithTrace(t.Context(), registry.Trace{Request: func(registry.Request) { counted++ }})
	if _, err := a.Authorize(ctx, ci, pull); err != nil {
		t.Fatal(err)
	}
	registry.TraceOf(i.lastRequest(t).Context()).Request(registry.Request{})
	if counted != 1 {
		t.Error("the context of the token request has no trace")
	}
}
