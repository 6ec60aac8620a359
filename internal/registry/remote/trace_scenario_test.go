package remote_test

import (
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

func TestTrace_RequestKind(t *testing.T) {
	tokens := registrytest.NewTokenServer(t)
	p := scripted(t, registrytest.Behaviour{}, registrytest.TokenAuth(tokens))
	pushed := p.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	blob := pushed.Blobs[0].Descriptor()
	c := newClient(t)
	ctx := c.context(t)
	repo := c.push(t, p.Ref("app", "1"))
	// The first request also fetches the token, and is sent again with it.
	var m registry.Manifest
	for _, step := range []struct {
		do   func() error
		want []string
	}{
		{func() error { _, err := repo.Resolve(ctx, "1"); return err }, []string{"HEAD manifest", "GET token", "HEAD manifest"}},
		{func() (err error) { m, err = repo.GetManifest(ctx, "1"); return err }, []string{"GET manifest"}},
		{func() error { return repo.PutManifest(ctx, "2", m) }, []string{"PUT manifest"}},
		{func() error { _, err := repo.StatBlob(ctx, blob.Digest); return err }, []string{"HEAD blob"}},
		{func() error { return drain(ctx, repo, blob) }, []string{"GET blob"}},
		{func() error {
			_, err := repo.PutBlob(ctx, descriptor(small), newBody(t, small).get())
			return err
		}, []string{"POST upload", "PUT upload"}},
		{func() error { _, err := repo.ListTags(ctx); return err }, []string{"GET tags"}},
	} {
		before := len(c.requests)
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.want, err)
		}
		var got []string
		for _, q := range c.requests[before:] {
			got = append(got, q.Kind())
			want := p.Addr
			if q.Object == "token" {
				want = hostOf(t, tokens.URL)
			}
			if q.Host != want {
				t.Errorf("host of %s in the trace = %s, want %s", q.Kind(), want, q.Host)
			}
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("traced requests = %q, want %q", got, step.want)
		}
	}
}

// drain reads a whole blob and discards it.
func drain(ctx context.Context, repo registry.Repository, d registry.Descriptor) error {
	content, err := repo.GetBlob(ctx, d)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	_, err = io.Copy(io.Discard, content)
	return err
}

// A request is active in the trace from the time it is sent until its body is read or
// closed.
func TestTrace_ActiveUntilBodyRead(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.PushBlob(t, "app", registrytest.Blob{Content: []byte(large)})
	c := newClient(t)
	ctx := c.context(t)
	repo := c.push(t, p.Ref("app", "1"))
	assertActive := func(when string, want int) {
		t.Helper()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.active != want {
			t.Errorf("%s: active requests = %d, want %d", when, c.active, want)
		}
	}
	content, err := repo.GetBlob(ctx, descriptor(large))
	if err != nil {
		t.Fatal(err)
	}
	assertActive("during the read", 1)
	if _, err := repo.StatBlob(ctx, descriptor(large).Digest); err != nil {
		t.Fatal(err)
	}
	assertActive("after another response", 1)
	for range 2 {
		_ = content.Close()
		assertActive("after Close()", 0)
	}
	p.On("HEAD", ".*").Reset()
	_, err = repo.StatBlob(ctx, descriptor(large).Digest)
	assertErrorKind(t, err, registry.ErrUnavailable)
	assertActive("after a reset", 0)
}

func TestTrace_WaitReason(t *testing.T) {
	for name, test := range map[string]struct {
		options remote.HostOptions
		want    map[registry.WaitReason]time.Duration // the longest wait for each reason
	}{
		"slot": {remote.HostOptions{MaxConcurrentRequests: 2}, map[registry.WaitReason]time.Duration{registry.WaitSlot: 2 * time.Second}},
		"rate": {remote.HostOptions{RequestsPerSecond: 0.25}, map[registry.WaitReason]time.Duration{registry.WaitRate: 16 * time.Second}},
		"none": {remote.HostOptions{}, map[registry.WaitReason]time.Duration{}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := servePipes(t, func(w http.ResponseWriter, _ *http.Request) {
					<-time.After(time.Second)
					w.Header().Set("Docker-Content-Digest", string(descriptor("x").Digest))
				})
				c := newClient(t, m.options, settings(map[string]remote.HostOptions{pipeHost: test.options}))
				ctx := c.context(t)
				var all sync.WaitGroup
				for range 5 {
					all.Go(func() { _, _ = c.pull(t, pipeHost+"/app").Resolve(ctx, "1") })
				}
				all.Wait()
				if got := c.longest(); !maps.Equal(got, test.want) {
					t.Errorf("longest waits = %v, want %v", got, test.want)
				}
			})
		})
	}
}

func TestTrace_RetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int32
		m := servePipes(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Docker-Content-Digest", string(descriptor("x").Digest))
			if requests.Add(1) == 1 {
				w.Header().Set("Retry-After", "40")
				w.WriteHeader(http.StatusTooManyRequests)
			}
		})
		c := newClient(t, m.options)
		if _, err := c.pull(t, pipeHost+"/app").Resolve(c.context(t), "1"); err != nil {
			t.Fatal(err)
		}
		// The client adds a random delay so that waiting clients do not all return at
		// once.
		if got := c.longest(); len(got) != 1 || got[registry.WaitRetry].Truncate(time.Second) != 40*time.Second {
			t.Errorf("longest waits = %v, want 40s for %q", got, registry.WaitRetry)
		}
	})
}

func TestTrace_ResumePause(t *testing.T) {
	p := scripted(t, registrytest.Behaviour{})
	p.PushBlob(t, "app", registrytest.Blob{Content: []byte(large)})
	p.On("GET", ".*").Times(3).Cut(10)
	c := newClient(t)
	if err := drain(c.context(t), c.pull(t, p.Ref("app", "1")), descriptor(large)); err != nil {
		t.Fatal(err)
	}
	if got := c.longest(); len(got) != 1 || got[registry.WaitRetry] <= 0 {
		t.Errorf("longest waits = %v, want a positive one for %q", got, registry.WaitRetry)
	}
}

// longest returns the longest wait so far for each reason. Waits that took no time are not
// included.
func (c *client) longest() map[registry.WaitReason]time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	longest := map[registry.WaitReason]time.Duration{}
	for _, w := range c.waits {
		if w.Took > 0 {
			longest[w.For] = max(longest[w.For], w.Took)
		}
	}
	return longest
}
