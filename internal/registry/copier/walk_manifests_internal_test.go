package copier

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// manifestSource is a repository with one manifest. It counts how often the manifest is read.
type manifestSource struct {
	registry.Repository
	host     string
	manifest registry.Manifest
	reads    int
}

func (s *manifestSource) Host() string { return s.host }

func (s *manifestSource) Name() string { return s.host + "/app" }

func (s *manifestSource) Redact(text string) string { return text }

func (s *manifestSource) GetManifest(context.Context, string) (registry.Manifest, error) {
	s.reads++
	return s.manifest, nil
}

// TestWalk_OpenWaitsForMemory verifies that a walk that waits for memory retains neither the
// manifest that it has read nor the charge for it. Otherwise, the copies that it waits for
// could not read theirs.
func TestWalk_OpenWaitsForMemory(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		canceled bool
		reads    int
	}{
		"released": {reads: 2},
		"canceled": {canceled: true, reads: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				content := []byte(`{"schemaVersion":2,"manifests":[],"annotations":{"padding":"` + strings.Repeat("x", 3<<20) + `"}}`)
				m := registry.Manifest{MediaType: ocispec.MediaTypeImageIndex, Content: content, Digest: digest.FromBytes(content)}
				source := &manifestSource{host: "a.example", manifest: m}
				job := Job{Source: source, Destination: &manifestSource{host: "b.example"}, Digest: m.Digest}
				copies := New(nil)
				other := copies.memory.Reserve(job.memoryKey(), "another copy")
				if err := other.Grow(t.Context(), 20<<20); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ctx, r, end := copies.newCopyOp(ctx, job, "this copy")
				defer end()
				w := newGraphWalk(r)
				w.root = w.addNode(rootOf(m.Digest), false, 0)

				opened := make(chan error, 1)
				go func() { opened <- w.open(ctx, w.root) }()
				synctest.Wait()
				if len(opened) > 0 || source.reads != 1 || w.root.fetched {
					t.Fatalf("open() does not wait for memory after %d reads, want 1 read", source.reads)
				}
				charge := copies.memory.Charge(job.memoryKey(), "another copy")
				if !charge.TryGrow(4 << 20) {
					t.Error("TryGrow() of another copy = false while open() waits, want true")
				}
				charge.Release()

				if c.canceled {
					cancel()
				} else {
					other.Release()
				}
				err := <-opened
				busy, ok := errors.AsType[*registry.BusyError](err)
				if c.canceled && (!ok || busy.Holder != "another copy") || !c.canceled && err != nil {
					t.Errorf("open() error = %v", err)
				}
				if source.reads != c.reads || w.root.fetched == c.canceled {
					t.Errorf("open() read the manifest %d times, want %d", source.reads, c.reads)
				}
			})
		})
	}
}
