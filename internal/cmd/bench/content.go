package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const inTotoLayer = "application/vnd.in-toto+json"

// blob is a blob whose content is generated while it is read, so that a large blob does not use
// memory. open returns a reader of the same content each time.
type blob struct {
	mediaType string
	size      int64
	open      func() io.Reader
}

// random returns a blob of incompressible content that depends on seed.
func random(mediaType string, size int64, seed string) blob {
	return blob{mediaType, size, func() io.Reader {
		return io.LimitReader(rand.NewChaCha8(sha256.Sum256([]byte(seed))), size)
	}}
}

func layer(size int64, seed string) blob { return random(ocispec.MediaTypeImageLayerGzip, size, seed) }

// descriptor computes the descriptor of the blob. Reading from memory does not fail.
func (b blob) descriptor() ocispec.Descriptor {
	sum, _ := digest.FromReader(b.open())
	return ocispec.Descriptor{MediaType: b.mediaType, Digest: sum, Size: b.size}
}

// image is an image, or an index if it has children.
type image struct {
	platform ocispec.Platform
	layers   []blob
	children []image
}

// contents returns the image in a repository of the source.
func contents(repository string) image {
	switch {
	case repository == "app":
		return appImage()
	case repository == "tiny":
		var i image
		for n := range 120 {
			i.layers = append(i.layers, layer(32<<10, fmt.Sprint("tiny ", n)))
		}
		return i
	case repository == "big":
		return image{layers: []blob{layer(1<<30, "big"), layer(1<<20, "big too")}}
	case strings.HasPrefix(repository, "fleet"):
		var i image
		for n := range 6 {
			i.layers = append(i.layers, layer(8<<20, fmt.Sprint("base ", n)))
		}
		i.layers = append(i.layers, layer(256<<10, repository), layer(64<<10, repository+" too"))
		return i
	}
	panic("no scenario has " + repository)
}

func appImage() image {
	var index image
	sizes := []int64{24 << 20, 12 << 20, 6 << 20, 3 << 20, 1 << 20, 200 << 10, 20 << 10, 2 << 10}
	for _, architecture := range []string{"amd64", "arm64", "ppc64le", "s390x"} {
		child := image{platform: ocispec.Platform{OS: "linux", Architecture: architecture}}
		for n, size := range sizes {
			child.layers = append(child.layers, layer(size, fmt.Sprint(architecture, n)))
		}
		attestation := image{platform: ocispec.Platform{OS: "unknown", Architecture: "unknown"}, layers: []blob{
			random(inTotoLayer, 20<<10, architecture+" materials"), random(inTotoLayer, 60<<10, architecture+" provenance"),
		}}
		index.children = append(index.children, child, attestation)
	}
	return index
}

// manifest returns v, encoded as JSON, as a manifest.
func manifest(mediaType string, v any) blob { return literal(mediaType, encode(v)) }

func literal(mediaType string, content []byte) blob {
	return blob{mediaType, int64(len(content)), func() io.Reader { return bytes.NewReader(content) }}
}

// configuration returns the config of an image with these layers.
func (i image) configuration(layers []ocispec.Descriptor) blob {
	root := ocispec.RootFS{Type: "layers"}
	for _, d := range layers {
		root.DiffIDs = append(root.DiffIDs, d.Digest)
	}
	return literal(ocispec.MediaTypeImageConfig, encode(ocispec.Image{Platform: i.platform, RootFS: root}))
}

func imageManifest(config ocispec.Descriptor, layers []ocispec.Descriptor) blob {
	return manifest(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: layers,
	})
}

func imageIndex(children []ocispec.Descriptor) blob {
	return manifest(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: children,
	})
}

// encode returns v as JSON. It panics if v cannot be encoded, which does not happen for the
// types used here.
func encode(v any) []byte {
	content, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return content
}
