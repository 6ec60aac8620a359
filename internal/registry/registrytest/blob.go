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

// Blob is the content of a blob and how a manifest names it. Its bytes are made
// from Seed and Size, the same each time, so that blobs of one seed and size are
// one blob, whatever images share them.
type Blob struct {
	Seed string
	Size int64
	// Content is used in place of Seed and Size where it is not nil.
	Content []byte
	// MediaType is a layer's of the manifest that names it where "".
	MediaType string
	// Algorithm is the one of the digest that names it; sha256 where "".
	Algorithm digest.Algorithm
	// URLs are further places where it can be had, and Annotations say more.
	URLs        []string
	Annotations map[string]string
	// Inline puts the content into the descriptor too, as its data.
	Inline bool
	// Absent names the blob in the manifest and does not push it.
	Absent bool
}

// Layer is a blob of size bytes.
func Layer(seed string, size int64) Blob { return Blob{Seed: seed, Size: size} }

// Open returns the content from its first byte.
func (b Blob) Open() io.Reader {
	if b.Content != nil {
		return bytes.NewReader(b.Content)
	}
	random := rand.NewChaCha8(sha256.Sum256([]byte(b.Seed)))
	return io.LimitReader(random, b.Size)
}

// Descriptor is how a manifest names the blob.
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

// digest reads the content, once in this process for each seed and size: large
// layers are declared again and again. It cannot fail, because nothing does I/O.
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

// digests are the digests of generated blobs.
var (
	digestsMu sync.Mutex
	digests   = map[digestKey]digest.Digest{}
)

type digestKey struct {
	seed      string
	size      int64
	algorithm digest.Algorithm
}
