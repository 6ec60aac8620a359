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

// singleSize is the size of a single's blob.
const singleSize = 200_000

// single is a manifest with one blob, so that one thing happens after another.
func single(t *testing.T, seed string) registrytest.Raw {
	t.Helper()
	layer := registrytest.Blob{Seed: seed, Size: singleSize, MediaType: ocispec.MediaTypeImageLayerGzip}
	return raw(t, ocispec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2, "layers": descriptors(layer)}, []registrytest.Blob{layer})
}

// halfway passes on the first bytes of an answer and then nothing more.
func halfway(w http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(&stuck{ResponseWriter: w, until: r.Context().Done()}, r)
}

type stuck struct {
	http.ResponseWriter
	until <-chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	n, err := s.ResponseWriter.Write(p[:len(p)/2])
	if err == nil {
		_ = http.NewResponseController(s.ResponseWriter).Flush()
		<-s.until
		err = errors.New("the client left")
	}
	return n, err
}

func (s *stuck) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func TestCopy_CancelAtEachStep(t *testing.T) {
	later := http.Header{"Retry-After": {"60"}}
	for name, c := range map[string]struct {
		side         registry.Side
		method, path string
		hinder       func(*registrytest.Rule)
		times        int // how many such requests come until it is hindered
	}{
		"the tag is resolved":          {registry.Source, "HEAD", "/v2/app/manifests/1", func(r *registrytest.Rule) { r.Stall() }, 1},
		"the source is throttled":      {registry.Source, "HEAD", "/v2/app/manifests/1", func(r *registrytest.Rule) { r.Reply(429, later, "") }, 1},
		"the manifest is fetched":      {registry.Source, "GET", "/v2/app/manifests/.*", func(r *registrytest.Rule) { r.Stall() }, 1},
		"the blob is asked for":        {registry.Source, "GET", "/v2/app/blobs/.*", func(r *registrytest.Rule) { r.Stall() }, 1},
		"the blob is under way":        {registry.Source, "GET", "/v2/app/blobs/.*", func(r *registrytest.Rule) { r.Do(halfway) }, 1},
		"the destination is looked at": {registry.Destination, "HEAD", tagPath, func(r *registrytest.Rule) { r.Stall() }, 1},
		"the upload is opened":         {registry.Destination, "POST", ".*", func(r *registrytest.Rule) { r.Stall() }, 1},
		"the upload is answered":       {registry.Destination, "PUT", "/v2/to/blobs/.*", func(r *registrytest.Rule) { r.Stall() }, 1},
		"the upload is put off":        {registry.Destination, "PUT", "/v2/to/blobs/.*", func(r *registrytest.Rule) { r.Reply(503, later, "") }, 1},
		"the tag is written":           {registry.Destination, "PUT", tagPath, func(r *registrytest.Rule) { r.Stall() }, 1},
		"the tag is confirmed":         {registry.Destination, "HEAD", tagPath, func(r *registrytest.Rule) { r.After(1).Stall() }, 2},
		"the tag does not show":        {registry.Destination, "HEAD", tagPath, func(r *registrytest.Rule) { r.After(1).Reply(404, nil, "") }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			registrytest.NoLeaks(t)
			from, to := pair(t, registrytest.Behaviour{})
			pushed := from.Push(t, "app", "1", single(t, "new"))
			old := to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
			p := map[registry.Side]*registrytest.Proxy{registry.Source: from, registry.Destination: to}[c.side]
			c.hinder(p.On(c.method, c.path))
			e := newEngine(t)
			ctx, cancel := context.WithCancel(t.Context())
			ended := e.start(ctx, e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
			p.Wait(t, func() bool { return p.Count(c.method, c.path) == c.times && !uploading(p) })
			cancel()
			r := await(t, ended)

			err, ok := errors.AsType[*registry.Error](r.err)
			if !ok || !errors.Is(r.err, context.Canceled) {
				t.Fatalf("the error is not that of the context: %v", r.err)
			}
			// Tags are looked at on both sides at once.
			if err.Side != c.side && c.method != http.MethodHead {
				t.Errorf("the error is of the %s: %v", err.Side, err)
			}
			mentions(t, err.Error(), "interrupted")
			if text := err.Error(); strings.Contains(text, "context") {
				t.Errorf("that is Go's word for it: %s", text)
			}
			p.Clear()
			want := old.Digest
			if written := to.Count("PUT", tagPath) == 1 && name != "the tag is written"; written {
				want = pushed.Digest
			}
			if held := to.Digest(t, "to", "1"); held != want {
				t.Errorf("the tag holds %s", held)
			}
			if opened, closed := sessions(to); opened != closed {
				t.Errorf("%d uploads were opened and %d closed", opened, closed)
			}
		})
	}
}

// uploading says whether part of a blob has arrived and not all of it.
func uploading(p *registrytest.Proxy) bool {
	return slices.ContainsFunc(p.Requests(), func(r registrytest.Request) bool {
		return r.Method == http.MethodPut && r.Query.Has("digest") && r.Received < singleSize
	})
}

// sessions counts the uploads that a registry opened, and those that were
// completed or given up.
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
	// With two requests to a host at a time, most of it waits for its turn.
	e := newEngine(t, limited(2, from.Registry, to.Registry))
	from.On("GET", "/v2/app/blobs/.*").Stall()
	ctx, cancel := context.WithCancel(t.Context())
	ended := e.start(ctx, e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
	from.Wait(t, func() bool { return from.Count("GET", "/v2/app/blobs/.*") == 1 })
	cancel()
	if r := await(t, ended); !errors.Is(r.err, context.Canceled) {
		t.Errorf("the error is not that of the context: %v", r.err)
	}
	if tags := to.Tags(t, "to"); len(tags) > 0 {
		t.Errorf("the destination has the tags %v", tags)
	}
	if p := e.copier.Progress(); p.Known != p.Done {
		t.Errorf("the progress is %+v, and nothing more will come", p)
	}
}

// deadline is a context whose time is over when the test says so.
type deadline struct {
	context.Context
	over chan struct{}
}

func (d deadline) Done() <-chan struct{} { return d.over }

func (d deadline) Err() error {
	select {
	case <-d.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestCopy_DeadlineExceeded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hinder func(*registrytest.Rule)
		seen   string // what the log has when the time may be over
		says   string
	}{
		"no answer":             {func(r *registrytest.Rule) { r.Stall() }, "", "it did not answer in time"},
		"one that is no answer": {func(r *registrytest.Rule) { r.Reply(http.StatusServiceUnavailable, nil, "") }, "status=503", "there was no time to try again"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t, registrytest.Behaviour{})
			from.Push(t, "app", "1", registrytest.Image{Seed: "a"})
			c.hinder(from.On("GET", "/v2/app/manifests/.*"))
			e := newEngine(t, func(o *remote.Options) { o.Backoff = time.Hour })
			ctx := deadline{t.Context(), make(chan struct{})}
			ended := e.start(ctx, e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
			from.Wait(t, func() bool { return from.Count("GET", "/v2/app/manifests/.*") == 1 })
			e.log.wait(t, c.seen)
			close(ctx.over)
			r := await(t, ended)
			err := failure(t, r.err, registry.Source, registry.ErrUnavailable)
			if !errors.Is(r.err, context.DeadlineExceeded) {
				t.Errorf("the error is not that of the context: %v", r.err)
			}
			mentions(t, err.Error(), "the time for the copy is over", c.says, from.Addr+"/app")
			if err.Hint == "" {
				t.Error("it does not say what to do")
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
	ended := e.start(ctx, e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
	from.Wait(t, func() bool { return from.Count("GET", ".*") == 1 })
	cancel(reason)
	r := await(t, ended)
	if !errors.Is(r.err, context.Canceled) || !errors.Is(r.err, reason) {
		t.Errorf("the error is %v, want both the reason and that of the context", r.err)
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
		ended := e.start(ctx, e.job(t, from.Ref("app", "1"), to.Ref("to", "1")))
		to.Wait(t, func() bool { return rule.Taken() > 0 })
		cancel()
		if r := await(t, ended); !errors.Is(r.err, context.Canceled) {
			t.Fatal(r.err)
		}
		to.Clear()
	}
	e.copy(t, from.Ref("app", "1"), to.Ref("to", "1"))
	registrytest.Same(t, pushed.Tree, to.Read(t, "to", "1"))
	if !slices.Equal(to.Tags(t, "to"), []string{"1"}) {
		t.Error("there are other tags")
	}
}
