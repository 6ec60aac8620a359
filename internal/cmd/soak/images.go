package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"

	"github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

const (
	images  = 24
	sources = 6 // repositories of the images
	bases   = 12
)

// image is an image that can be copied.
type image struct {
	repository, tag string
	root            digest.Digest
	attached        []referrer
}

// referrer is a manifest that refers to an image, to part of one, or to another referrer. list
// is the tag of the index that lists it.
type referrer struct {
	list   string
	digest digest.Digest
}

// types has the media types of an image.
type types struct{ index, manifest, config, layer string }

var (
	ociTypes    = types{ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, ocispec.MediaTypeImageLayerGzip}
	dockerTypes = types{dockerList, dockerManifest, dockerConfig, dockerLayer}
)

// pushImages pushes the images of the seed to a registry. They share base layers of up to 4 MiB
// and have small layers of their own. A third of them are indexes of several platforms, and a
// quarter have Docker media types. Each image, and the first child of an index, has a signature
// and an SBOM that is signed too.
func pushImages(ctx context.Context, s *server, seed uint64) ([]image, error) {
	random := rand.New(rand.NewPCG(seed, 0))
	var base [bases][]byte
	for i := range base {
		base[i] = randomBytes(random, (1+random.IntN(4))<<(18+i%3)) // 256 KiB to 4 MiB
	}
	var pushed []image
	for n := range images {
		i := image{repository: fmt.Sprintf("team-%d/app", n%sources), tag: fmt.Sprintf("v%d", n)}
		repo, err := s.repository(ctx, i.repository)
		if err != nil {
			return nil, err
		}
		b := builder{repository: repo, random: random, base: base[:], types: ociTypes}
		if n%4 == 1 {
			b.types = dockerTypes
		}
		var root ocispec.Descriptor
		if n%3 == 0 {
			root = b.index(ctx)
		} else {
			root = b.image(ctx, "amd64")
		}
		b.tag(ctx, i.tag, root)
		b.sign(ctx, root)
		if b.err != nil {
			return nil, b.err
		}
		i.root, i.attached = root.Digest, b.attached
		pushed = append(pushed, i)
	}
	return pushed, nil
}

// builder pushes images to a repository. After an error it does nothing.
type builder struct {
	repository
	random *rand.Rand
	base   [][]byte
	types  types
	// attached has all referrers that were pushed.
	attached []referrer
	err      error
}

func (b *builder) index(ctx context.Context) ocispec.Descriptor {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: b.types.index}
	for _, architecture := range []string{"amd64", "arm64", "ppc64le", "s390x"}[:2+b.random.IntN(3)] {
		child := b.image(ctx, architecture)
		child.Platform = &ocispec.Platform{OS: "linux", Architecture: architecture}
		index.Manifests = append(index.Manifests, child)
	}
	b.sign(ctx, index.Manifests[0])
	return b.manifest(ctx, index.MediaType, index)
}

// sign attaches a signature and an SBOM to subject. The SBOM is signed too.
func (b *builder) sign(ctx context.Context, subject ocispec.Descriptor) {
	sbom := b.artifact(ctx, "application/spdx+json", subject)
	b.list(ctx, subject, b.artifact(ctx, "application/vnd.example.signature", subject), sbom)
	b.list(ctx, sbom, b.artifact(ctx, "application/vnd.example.signature", sbom))
}

// artifact pushes a manifest with a subject.
func (b *builder) artifact(ctx context.Context, artifactType string, subject ocispec.Descriptor) ocispec.Descriptor {
	return b.manifest(ctx, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config:  b.blob(ctx, ocispec.MediaTypeEmptyJSON, []byte("{}")),
		Layers:  []ocispec.Descriptor{b.blob(ctx, artifactType, randomBytes(b.random, 1<<10+b.random.IntN(8<<10)))},
		Subject: &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
	})
}

// list pushes the index of referrers under the tag for registries without a referrers API.
func (b *builder) list(ctx context.Context, subject ocispec.Descriptor, referrers ...ocispec.Descriptor) {
	tag := registry.ReferrersTag(subject.Digest)
	b.tag(ctx, tag, b.manifest(ctx, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: referrers,
	}))
	for _, r := range referrers {
		b.attached = append(b.attached, referrer{tag, r.Digest})
	}
}

func (b *builder) tag(ctx context.Context, tag string, d ocispec.Descriptor) {
	if b.err == nil {
		b.err = b.tags.Tag(ctx, tag, d)
	}
}

func (b *builder) image(ctx context.Context, architecture string) ocispec.Descriptor {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: b.types.manifest}
	for _, i := range b.random.Perm(len(b.base))[:1+b.random.IntN(3)] {
		m.Layers = append(m.Layers, b.blob(ctx, b.types.layer, b.base[i]))
	}
	for range 1 + b.random.IntN(3) {
		m.Layers = append(m.Layers, b.blob(ctx, b.types.layer, randomBytes(b.random, 1<<10+b.random.IntN(64<<10))))
	}
	m.Config = b.blob(ctx, b.types.config, b.json(ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: architecture}, Author: fmt.Sprint(b.random.Uint64())}))
	return b.manifest(ctx, m.MediaType, m)
}

func (b *builder) blob(ctx context.Context, mediaType string, content []byte) ocispec.Descriptor {
	if b.err != nil {
		return ocispec.Descriptor{}
	}
	_, b.err = b.blobs.Put(ctx, mediaType, content)
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

func (b *builder) manifest(ctx context.Context, mediaType string, v any) ocispec.Descriptor {
	content := b.json(v)
	if b.err != nil {
		return ocispec.Descriptor{}
	}
	var m distribution.Manifest
	if m, _, b.err = distribution.UnmarshalManifest(mediaType, content); b.err == nil {
		_, b.err = b.manifests.Put(ctx, m)
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

func (b *builder) json(v any) []byte {
	content, err := json.Marshal(v)
	if b.err == nil {
		b.err = err
	}
	return content
}

// randomBytes returns incompressible content.
func randomBytes(random *rand.Rand, size int) []byte {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, random.Uint64()))).Read(content) // cannot fail
	return content
}
