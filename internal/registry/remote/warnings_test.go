package remote_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
)

// dockerHub returns a client of Docker Hub, whose API requests are passed to handler.
func dockerHub(t *testing.T, handler http.HandlerFunc) *client {
	t.Helper()
	n := newFakeNetwork(t)
	n.serve(t, "registry-1.docker.io", registryAddress, handler)
	return newClient(t, n.options, settings(n.trustedHosts("docker.io")))
}

func TestWarnings_LowRateLimit(t *testing.T) {
	var left atomic.Int32
	left.Store(12)
	c := dockerHub(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("RateLimit-Limit", "100;w=21600")
		w.Header().Set("RateLimit-Remaining", fmt.Sprintf("%d;w=21600", left.Add(-1)))
		w.Header().Set("Docker-Content-Digest", string(descriptor("x").Digest))
	})
	for range 5 {
		if _, err := c.pull(t, "alpine").Resolve(c.context(t), "3"); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := c.Warnings(), "docker.io allows 10 more pulls of 100 in 6h0m0s"; len(got) != 1 || got[0] != want {
		t.Errorf("warnings = %q, want %q", got, want)
	}
}

func TestWarnings_RateLimitFormats(t *testing.T) {
	const want = "docker.io allows 3 more pulls"
	for _, limit := range []string{"100", "", "x;w=1", "100;w=99999999999", "-1;w=60", "100;w=-1"} {
		c := dockerHub(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("RateLimit-Limit", limit)
			w.Header().Set("RateLimit-Remaining", "3")
			w.Header().Set("Docker-Content-Digest", string(descriptor("x").Digest))
		})
		if _, err := c.pull(t, "alpine").Resolve(c.context(t), "3"); err != nil {
			t.Fatal(err)
		}
		if got := c.Warnings(); len(got) != 1 || got[0] != want {
			t.Errorf("%q: warnings = %q, want %q", limit, got, want)
		}
	}
}

func TestWarnings_InvalidRateLimit(t *testing.T) {
	for _, remaining := range []string{"-1", "soon", "99999999999999999999", "11", ""} {
		c := dockerHub(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("RateLimit-Remaining", remaining)
			w.Header().Set("Docker-Content-Digest", string(descriptor("x").Digest))
		})
		if _, err := c.pull(t, "alpine").Resolve(c.context(t), "3"); err != nil {
			t.Fatal(err)
		}
		if got := c.Warnings(); len(got) != 0 {
			t.Errorf("%q: warnings = %q, want none", remaining, got)
		}
	}
}

func TestWarnings_Deduplicated(t *testing.T) {
	warnings := []string{
		`299 - "this repository \"app\" moves"`, `299 - "one", 299 - "two, and more"`,
		`299 - "`, `199 - "not for people"`, `299 agent "another agent"`, `299 - ""`, "299 - \"bell \\a and \\u202e\"",
	}
	server := servePlain(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Warning"] = warnings
		w.Header().Set("Docker-Content-Digest", string(descriptor("x").Digest))
	})
	c := newClient(t)
	for range 3 {
		if _, err := c.pull(t, address(server)+"/app").Resolve(c.context(t), "1"); err != nil {
			t.Fatal(err)
		}
	}
	prefix := address(server) + " says: "
	want := []string{prefix + `this repository "app" moves`, prefix + "one", prefix + "two, and more", prefix + "bell and ?"}
	if got := c.Warnings(); !slices.Equal(got, want) {
		t.Errorf("warnings = %q, want %q", got, want)
	}
}

func TestWarnings_Limit(t *testing.T) {
	var n atomic.Int32
	server := servePlain(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 50 {
			w.Header().Add("Warning", fmt.Sprintf(`299 - "%d"`, n.Add(1)))
		}
		w.Header().Set("Docker-Content-Digest", string(descriptor("x").Digest))
	})
	c := newClient(t)
	for range 5 {
		if _, err := c.pull(t, address(server)+"/app").Resolve(c.context(t), "1"); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(c.Warnings()); got != 100 {
		t.Errorf("warnings = %d, want 100", got)
	}
	// Warnings of other registries are not lost.
	other := servePlain(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Warning", `299 - "this repository moves"`)
		w.Header().Set("Docker-Content-Digest", string(descriptor("x").Digest))
	})
	if _, err := c.pull(t, address(other)+"/app").Resolve(c.context(t), "1"); err != nil {
		t.Fatal(err)
	}
	if got := c.Warnings(); got[len(got)-1] != address(other)+" says: this repository moves" {
		t.Errorf("last warning = %q", got[len(got)-1])
	}
}

func TestWarnings_RedirectTarget(t *testing.T) {
	cdn := servePlain(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Warning", `299 - "send money"`)
		w.Header().Set("RateLimit-Remaining", "0")
		_, _ = w.Write([]byte(small))
	})
	server := servePlain(t, redirect(cdn.URL+"/blob"))
	c := newClient(t)
	blob, err := c.pull(t, address(server)+"/app").GetBlob(c.context(t), descriptor(small))
	if err != nil {
		t.Fatal(err)
	}
	_ = blob.Close()
	if got := c.Warnings(); len(got) != 0 {
		t.Errorf("warnings = %q, want none", got)
	}
}
