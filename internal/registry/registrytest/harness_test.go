package registrytest_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// fakeTB is a testing.TB that records failures instead of failing the test. Its cleanups run
// when the function under test returns.
type fakeTB struct {
	testing.TB
	messages strings.Builder
	cleanups []func()
}

// failures runs f with a fakeTB and returns its failure messages, or "" if f did not fail.
func failures(t *testing.T, f func(testing.TB)) string {
	t.Helper()
	inner := &fakeTB{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, cleanup := range slices.Backward(inner.cleanups) {
				cleanup()
			}
		}()
		f(inner)
	}()
	<-done
	return inner.messages.String()
}

func (t *fakeTB) Cleanup(f func())  { t.cleanups = append(t.cleanups, f) }
func (t *fakeTB) Error(args ...any) { fmt.Fprintln(&t.messages, args...) }

func (t *fakeTB) Fatal(args ...any) {
	fmt.Fprintln(&t.messages, args...)
	runtime.Goexit()
}

func (t *fakeTB) Fatalf(format string, args ...any) { t.Fatal(fmt.Sprintf(format, args...)) }

// front returns a proxy in front of a scripted registry that has the image app:1.0.
func front(t *testing.T) (*registrytest.Proxy, registrytest.Pushed) {
	t.Helper()
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1.0", registrytest.Image{Seed: "a"})
	return registrytest.Intercept(t, reg), pushed
}

// fetch sends a request through a proxy and reads the response.
func fetch(t *testing.T, p *registrytest.Proxy, method, path, body string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "*/*")
	// Each request uses its own connection, so that a cut affects no other request.
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	return res, string(content), err
}

func statuses(t *testing.T, p *registrytest.Proxy, n int, method, path string) []int {
	t.Helper()
	var got []int
	for range n {
		res, _, err := fetch(t, p, method, path, "")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, res.StatusCode)
	}
	return got
}

func equal(got []int, want ...int) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if got[i] != want[i] {
			return false
		}
	}
	return true
}
