package registrytest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Blob is a blob and its descriptor in a manifest. The content is generated from Seed and Size
// and is the same each time, so that images can share a blob by declaring it with the same Seed
// and Size.
type Blob struct {
	Seed string
	Size int64
	// Content, if not nil, is the content instead of the generated one.
	Content []byte
	// MediaType defaults to the layer type of the manifest that refers to the blob.
	MediaType string
	// Algorithm is the digest algorithm. It defaults to sha256.
	Algorithm digest.Algorithm
	// URLs and Annotations are set in the descriptor.
	URLs        []string
	Annotations map[string]string
	// Inline also stores the content in the descriptor, as its data.
	Inline bool
	// Absent omits the blob when its manifest is pushed.
	Absent bool
}

// Layer returns a generated blob of size bytes.
func Layer(seed string, size int64) Blob { return Blob{Seed: seed, Size: size} }

// Open returns a reader of the whole content.
func (b Blob) Open() io.Reader {
	if b.Content != nil {
		return bytes.NewReader(b.Content)
	}
	random := rand.NewChaCha8(sha256.Sum256([]byte(b.Seed)))
	return io.LimitReader(random, b.Size)
}

// Descriptor returns the descriptor of the blob in a manifest.
func (b Blob) Descriptor() ocispec.Descriptor {
	algorithm := b.Algorithm
	if algorithm == "" {
		algorithm = digest.SHA256
	}
	d := ocispec.Descriptor{
		MediaType:   b.MediaType,
		Digest:      b.digest(algorithm),
		Size:        b.length(),
		URLs:        b.URLs,
		Annotations: b.Annotations,
	}
	if b.Inline {
		d.Data, _ = io.ReadAll(b.Open())
	}
	return d
}

func (b Blob) length() int64 {
	if b.Content != nil {
		return int64(len(b.Content))
	}
	return b.Size
}

// digest returns the digest of the content. It caches the digests of generated content in the
// process, because tests declare the same large layers repeatedly. It cannot fail, because it
// does no I/O.
func (b Blob) digest(algorithm digest.Algorithm) digest.Digest {
	if b.Content != nil {
		return algorithm.FromBytes(b.Content)
	}
	digestsMu.Lock()
	defer digestsMu.Unlock()
	key := digestKey{b.Seed, b.Size, algorithm}
	if known, ok := digests[key]; ok {
		return known
	}
	d, err := algorithm.FromReader(b.Open())
	if err != nil {
		panic(fmt.Sprintf("registrytest: %v", err))
	}
	digests[key] = d
	return d
}

// digests caches the digests of generated blobs.
var (
	digestsMu sync.Mutex
	digests   = map[digestKey]digest.Digest{}
)

type digestKey struct {
	seed      string
	size      int64
	algorithm digest.Algorithm
}
