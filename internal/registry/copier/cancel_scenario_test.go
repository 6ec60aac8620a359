package copier_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// singleBlobSize is the size of the blob of singleBlobManifest.
const singleBlobSize = 200_000

// singleBlobManifest returns a manifest with one blob, so that requests are sequential.
func singleBlobManifest(t *testing.T, seed string) registrytest.Raw {
	t.Helper()
	layer := registrytest.Blob{Seed: seed, Size: singleBlobSize, MediaType: ocispec.MediaTypeImageLayerGzip}
	return rawManifest(t, ocispec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2, "layers": descriptors(layer)}, []registrytest.Blob{layer})
}

// stallHalfway sends the first bytes of a response and then stalls.
func stallHalfway(w http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(&stallingWriter{ResponseWriter: w, until: r.Context().Done()}, r)
}

type stallingWriter struct {
	http.ResponseWriter
	until <-chan struct{}
}

func (s *stallingWriter) Write(p []byte) (int, error) {
	n, err := s.ResponseWriter.Write(p[:len(p)/2])
	if err == nil {
		_ = http.NewResponseController(s.ResponseWriter).Flush()
		<-s.until
		err = errors.New("the client canceled the request")
	}
	return n, err
}

func (s *stallingWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func TestCopy_CancelAtEachStep(t *testing.T) {
	later := http.Header{"Retry-After": {"60"}}
	for name, c := range map[string]struct {
		side         registry.Side
		method, path string
		inject       func(*registrytest.Rule)
		times        int // number of matching requests until the fault
	}{
		"resolve_source":        {registry.Source, "HEAD", "/v2/app/manifests/1", func(r *registrytest.Rule) { r.Stall() }, 1},
		"source_rate_limit":     {registry.Source, "HEAD", "/v2/app/manifests/1", func(r *registrytest.Rule) { r.Reply(429, later, "") }, 1},
		"get_manifest":          {registry.Source, "GET", "/v2/app/manifests/.*", func(r *registrytest.Rule) { r.Stall() }, 1},
		"get_blob":              {registry.Source, "GET", "/v2/app/blobs/.*", func(r *registrytest.Rule) { r.Stall() }, 1},
		"read_blob":             {registry.Source, "GET", "/v2/app/blobs/.*", func(r *registrytest.Rule) { r.Do(stallHalfway) }, 1},
		"resolve_destination":   {registry.Destination, "HEAD", tagPath, func(r *registrytest.Rule) { r.Stall() }, 1},
		"start_upload":          {registry.Destination, "POST", ".*", func(r *registrytest.Rule) { r.Stall() }, 1},
		"upload_response":       {registry.Destination, "PUT", "/v2/to/blobs/.*", func(r *registrytest.Rule) { r.Stall() }, 1},
		"upload_unavailable":    {registry.Destination, "PUT", "/v2/to/blobs/.*", func(r *registrytest.Rule) { r.Reply(503, later, "") }, 1},
		"put_tag":               {registry.Destination, "PUT", tagPath, func(r *registrytest.Rule) { r.Stall() }, 1},
		"confirm_tag":           {registry.Destination, "HEAD", tagPath, func(r *registrytest.Rule) { r.After(1).Stall() }, 2},
		"confirm_tag_not_found": {registry.Destination, "HEAD", tagPath, func(r *registrytest.Rule) { r.After(1).Reply(404, nil, "") }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			registrytest.NoLeaks(t)
			from, to := pair(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", singleBlobManifest(t, "new"))
			old := to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
			p := map[registry.Side]*registrytest.Proxy{registry.Source: from, registry.Destination: to}[c.side]
			c.inject(p.On(c.method, c.path))
			e := newEngine(t)
			ctx, cancel := context.WithCancel(t.Context())
			done := e.start(ctx, e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
			p.Wait(t, func() bool { return p.Count(c.method, c.path) == c.times && !uploading(p) })
			cancel()
			r := await(t, done)

			err, ok := errors.AsType[*registry.Error](r.err)
			if !ok || !errors.Is(r.err, context.Canceled) {
				t.Fatalf("Copy() error = %v, want context.Canceled", r.err)
			}
			// Tags of both sides are resolved concurrently.
			if err.Side != c.side && c.method != http.MethodHead {
				t.Errorf("Copy() error has side %q, want %q: %v", err.Side, c.side, err)
			}
			assertContains(t, err.Error(), "interrupted")
			if text := err.Error(); strings.Contains(text, "context") {
				t.Errorf("Copy() error contains the text of a context error: %s", text)
			}
			p.Clear()
			want := old.Digest
			if written := to.Count("PUT", tagPath) == 1 && name != "put_tag"; written {
				want = pushed.Digest
			}
			if current := to.Digest(t, "to", "1"); current != want {
				t.Errorf("tag has digest %s, want %s", current, want)
			}
			if opened, closed := sessions(to); opened != closed {
				t.Errorf("%d uploads were started and %d completed or canceled", opened, closed)
			}
		})
	}
}

// uploading reports whether the registry has received a blob only partly.
func uploading(p *registrytest.Proxy) bool {
	return slices.ContainsFunc(p.Requests(), func(r registrytest.Request) bool {
		return r.Method == http.MethodPut && r.Query.Has("digest") && r.Received < singleBlobSize
	})
}

// sessions returns the number of uploads that a registry started, and of those that were
// completed or canceled.
func sessions(p *registrytest.Proxy) (opened, closed int) {
	for _, r := range p.Requests() {
		switch {
		case r.Method == http.MethodPost && r.Status == http.StatusAccepted:
			opened++
		case r.Query.Has("digest") && r.Method == http.MethodPut && r.Status == http.StatusCreated,
			r.Method == http.MethodDelete && r.Status == http.StatusNoContent:
			closed++
		}
	}
	return opened, closed
}

func TestCopy_CancelLargeCopy(t *testing.T) {
	registrytest.NoLeaks(t)
	from, to := pair(t, registrytest.Behaviour{})
	var images []registrytest.Content
	for _, seed := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		images = append(images, registrytest.MultiArch(seed))
	}
	from.Push(t, "app", "1", registrytest.Index{Manifests: images})
	// With two concurrent requests to a host, most requests wait for a slot.
	e := newEngine(t, withMaxRequests(2, from.Registry, to.Registry))
	from.On("GET", "/v2/app/blobs/.*").Stall()
	ctx, cancel := context.WithCancel(t.Context())
	done := e.start(ctx, e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
	from.Wait(t, func() bool { return from.Count("GET", "/v2/app/blobs/.*") == 1 })
	cancel()
	if r := await(t, done); !errors.Is(r.err, context.Canceled) {
		t.Errorf("Copy() error = %v, want context.Canceled", r.err)
	}
	if tags := to.Tags(t, "to"); len(tags) > 0 {
		t.Errorf("destination tags = %v, want none", tags)
	}
	if p := e.copier.Progress(); p.Known != p.Done {
		t.Errorf("Progress() = %+v after the copy ended, want Known equal to Done", p)
	}
}

// manualDeadline is a context whose deadline expires when a test closes expired.
type manualDeadline struct {
	context.Context
	expired chan struct{}
}

func (d manualDeadline) Done() <-chan struct{} { return d.expired }

func (d manualDeadline) Err() error {
	select {
	case <-d.expired:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestCopy_DeadlineExceeded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		inject   func(*registrytest.Rule)
		logText  string // log text to wait for before the deadline expires
		wantText string
	}{
		"no_response":         {func(r *registrytest.Rule) { r.Stall() }, "", "it did not answer in time"},
		"service_unavailable": {func(r *registrytest.Rule) { r.Reply(http.StatusServiceUnavailable, nil, "") }, "status=503", "there was no time to try again"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
			c.inject(from.On("GET", "/v2/app/manifests/.*"))
			e := newEngine(t, func(o *remote.Options) { o.Backoff = time.Hour })
			ctx := manualDeadline{t.Context(), make(chan struct{})}
			done := e.start(ctx, e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
			from.Wait(t, func() bool { return from.Count("GET", "/v2/app/manifests/.*") == 1 })
			e.log.wait(t, c.logText)
			close(ctx.expired)
			r := await(t, done)
			err := assertError(t, r.err, registry.Source, registry.ErrUnavailable)
			if !errors.Is(r.err, context.DeadlineExceeded) {
				t.Errorf("Copy() error = %v, want context.DeadlineExceeded", r.err)
			}
			assertContains(t, err.Error(), "the time for the copy is over", c.wantText, from.Addr+"/app")
			if err.Hint == "" {
				t.Error("Copy() error has no hint")
			}
		})
	}
}

func TestCopy_CancelCause(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	from.On("GET", "/v2/app/manifests/.*").Stall()
	e := newEngine(t)
	reason := errors.New("the machine goes down")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := e.start(ctx, e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
	from.Wait(t, func() bool { return from.Count("GET", ".*") == 1 })
	cancel(reason)
	r := await(t, done)
	if !errors.Is(r.err, context.Canceled) || !errors.Is(r.err, reason) {
		t.Errorf("Copy() error = %v, want the cause and context.Canceled", r.err)
	}
}

func TestCopy_RetryAfterCancel(t *testing.T) {
	t.Parallel()
	from, to := pair(t, registrytest.Behaviour{})
	pushed := from.Push(t, "app", "1", registrytest.MultiArch("a"))
	e := newEngine(t)
	for _, path := range []string{"/v2/to/blobs/uploads/.*", "/v2/to/manifests/sha256:.*", tagPath} {
		rule := to.On("PUT", path).Stall()
		ctx, cancel := context.WithCancel(t.Context())
		done := e.start(ctx, e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
		to.Wait(t, func() bool { return rule.Taken() > 0 })
		cancel()
		if r := await(t, done); !errors.Is(r.err, context.Canceled) {
			t.Fatal(r.err)
		}
		to.Clear()
	}
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	if !slices.Equal(to.Tags(t, "to"), []string{"1"}) {
		t.Error("destination has other tags, want only 1")
	}
}
