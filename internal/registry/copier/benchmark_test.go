package copier_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
)

// inMemory is a repository that answers at once, so that what a copy of its
// content takes is the engine's own. What a walk does not ask is not there.
type inMemory struct {
	registry.Repository

	host string
	mu   sync.Mutex
	// manifests are by digest, and by the tags that name them.
	manifests map[string]registry.Manifest
	blobs     map[digest.Digest][]byte
}

func newInMemory(host string) *inMemory {
	return &inMemory{host: host, manifests: map[string]registry.Manifest{}, blobs: map[digest.Digest][]byte{}}
}

func (r *inMemory) Name() string { return r.host + "/app" }
func (r *inMemory) Host() string { return r.host }

func (r *inMemory) Resolve(ctx context.Context, reference string) (registry.Descriptor, error) {
	m, err := r.GetManifest(ctx, reference)
	return m.Descriptor(), err
}

func (r *inMemory) GetManifest(_ context.Context, reference string) (registry.Manifest, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.manifests[reference]
	if !ok {
		return m, &registry.Error{Op: "read", Repository: r.Name(), Reference: reference, Kind: registry.ErrNotFound}
	}
	return m, nil
}

func (r *inMemory) PutManifest(_ context.Context, reference string, m registry.Manifest) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.manifests[reference] = m
	return nil
}

func (r *inMemory) GetBlob(_ context.Context, d registry.Descriptor) (io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return registry.Verify(io.NopCloser(bytes.NewReader(r.blobs[d.Digest])), d, r.Name()), nil
}

func (r *inMemory) PutBlob(ctx context.Context, d registry.Descriptor, content registry.Content) (registry.Outcome, error) {
	opened, err := content.Open(ctx)
	if err != nil {
		return "", err
	}
	defer opened.Close()
	sent, err := io.ReadAll(opened)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blobs[d.Digest] = sent
	return registry.Copied, nil
}

func (r *inMemory) addBlob(content string) registry.Descriptor {
	d := digest.FromString(content)
	r.blobs[d] = []byte(content)
	return registry.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: d, Size: int64(len(content))}
}

func (r *inMemory) addManifest(b *testing.B, tag, mediaType string, members map[string]any) registry.Descriptor {
	b.Helper()
	members["schemaVersion"] = 2
	content, err := json.Marshal(members)
	if err != nil {
		b.Fatal(err)
	}
	m, err := registry.NewManifest(mediaType, content, "")
	if err != nil {
		b.Fatal(err)
	}
	r.manifests[tag], r.manifests[m.Digest.String()] = m, m
	return m.Descriptor()
}

// BenchmarkWalk copies an index of 100 images with nine blobs each: a graph of
// 1,001 nodes, between repositories that take no time.
func BenchmarkWalk(b *testing.B) {
	const images, blobs = 100, 9
	source := newInMemory("source.example.com")
	var children []registry.Descriptor
	for i := range images {
		var layers []registry.Descriptor
		for j := range blobs {
			layers = append(layers, source.addBlob(fmt.Sprintf("layer %d of image %d", j, i)))
		}
		children = append(children, source.addManifest(b, fmt.Sprint(i), ocispec.MediaTypeImageManifest, map[string]any{"config": layers[0], "layers": layers[1:]}))
	}
	source.addManifest(b, "1.0", ocispec.MediaTypeImageIndex, map[string]any{"manifests": children})
	b.ReportAllocs()
	for b.Loop() {
		job := copier.Job{Source: source, Destination: newInMemory("destination.example.com"), Reference: "1.0", Tags: []string{"1.0"}}
		report, err := copier.New(nil).Copy(b.Context(), job)
		if err != nil {
			b.Fatal(err)
		}
		if report.Copied.Blobs != images*blobs || report.Manifests != images+1 {
			b.Fatalf("it copied %+v", report)
		}
	}
}
