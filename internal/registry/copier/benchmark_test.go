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

// memoryRepository is a repository in memory without latency, so that a benchmark measures
// only the copier. It implements only the methods that a walk calls.
type memoryRepository struct {
	registry.Repository

	host string
	mu   sync.Mutex
	// manifests contains each manifest by its digest and by its tags.
	manifests map[string]registry.Manifest
	blobs     map[digest.Digest][]byte
}

func newMemoryRepository(host string) *memoryRepository {
	return &memoryRepository{host: host, manifests: map[string]registry.Manifest{}, blobs: map[digest.Digest][]byte{}}
}

func (r *memoryRepository) Name() string { return r.host + "/app" }
func (r *memoryRepository) Host() string { return r.host }

func (r *memoryRepository) Resolve(ctx context.Context, reference string) (registry.Descriptor, error) {
	m, err := r.GetManifest(ctx, reference)
	return m.Descriptor(), err
}

func (r *memoryRepository) GetManifest(_ context.Context, reference string) (registry.Manifest, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.manifests[reference]
	if !ok {
		return m, &registry.Error{Op: "read", Repository: r.Name(), Reference: reference, Kind: registry.ErrNotFound}
	}
	return m, nil
}

func (r *memoryRepository) PutManifest(_ context.Context, reference string, m registry.Manifest) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.manifests[reference] = m
	return nil
}

func (r *memoryRepository) GetBlob(_ context.Context, d registry.Descriptor) (io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return registry.Verify(io.NopCloser(bytes.NewReader(r.blobs[d.Digest])), d, r.Name()), nil
}

func (r *memoryRepository) PutBlob(ctx context.Context, d registry.Descriptor, content registry.Content) (registry.Outcome, error) {
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

func (r *memoryRepository) addBlob(content string) registry.Descriptor {
	d := digest.FromString(content)
	r.blobs[d] = []byte(content)
	return registry.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: d, Size: int64(len(content))}
}

func (r *memoryRepository) addManifest(b *testing.B, tag, mediaType string, members map[string]any) registry.Descriptor {
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

// BenchmarkWalk copies an index of 100 images with nine blobs each, a graph of 1,001 nodes,
// between repositories without latency.
func BenchmarkWalk(b *testing.B) {
	const images, blobs = 100, 9
	source := newMemoryRepository("source.example.com")
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
		job := copier.Job{Source: source, Destination: newMemoryRepository("destination.example.com"), Reference: "1.0", Tags: []string{"1.0"}}
		report, err := copier.New(nil).Copy(b.Context(), job)
		if err != nil {
			b.Fatal(err)
		}
		if report.Copied.Blobs != images*blobs || report.Manifests != images+1 {
			b.Fatalf("Copy() report = %+v, want %d blobs and %d manifests", report, images*blobs, images+1)
		}
	}
}
