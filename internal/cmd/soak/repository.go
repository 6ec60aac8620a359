package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// repository is a repository of a registry, accessed without connections and tokens.
type repository struct {
	name      string
	manifests distribution.ManifestService
	blobs     distribution.BlobStore
	tags      distribution.TagService
}

func (s *server) repository(ctx context.Context, name string) (repository, error) {
	digestOrNone, err := reference.WithName(name)
	if err != nil {
		return repository{}, err
	}
	opened, err := s.content.Repository(ctx, digestOrNone)
	if err != nil {
		return repository{}, err
	}
	manifests, err := opened.Manifests(ctx)
	return repository{name, manifests, opened.Blobs(ctx), opened.Tags(ctx)}, err
}

// digest returns the digest of a tag, or "" if the tag does not exist.
func (r repository) digest(ctx context.Context, tag string) (digest.Digest, error) {
	d, err := r.tags.Get(ctx, tag)
	if errors.As(err, new(distribution.ErrTagUnknown)) {
		return "", nil
	}
	return d.Digest, err
}

// contents has the descriptors of a manifest.
type contents struct {
	Manifests []ocispec.Descriptor `json:"manifests"`
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
}

// read reads a manifest and verifies its digest.
func (r repository) read(ctx context.Context, d digest.Digest) (contents, error) {
	var c contents
	m, err := r.manifests.Get(ctx, d)
	if err != nil {
		return c, fmt.Errorf("%s: manifest %s: %w", r.name, d, err)
	}
	_, content, err := m.Payload()
	if err != nil {
		return c, fmt.Errorf("%s: manifest %s: %w", r.name, d, err)
	}
	if found := d.Algorithm().FromBytes(content); found != d {
		return c, fmt.Errorf("%s: the bytes of the manifest %s have the digest %s", r.name, d, found)
	}
	err = json.Unmarshal(content, &c)
	return c, err
}

// checkComplete returns an error if a manifest or any content below it is missing or does not
// match its digest. It verifies the content of blobs that are not yet in read, and adds them to
// it. If read is nil, it checks only their size.
func (r repository) checkComplete(ctx context.Context, d digest.Digest, read map[digest.Digest]bool) error {
	c, err := r.read(ctx, d)
	if err != nil {
		return err
	}
	for _, child := range c.Manifests {
		if err := r.checkComplete(ctx, child.Digest, read); err != nil {
			return err
		}
	}
	if c.Config != nil {
		c.Layers = append(c.Layers, *c.Config)
	}
	for _, layer := range c.Layers {
		if err := r.checkBlob(ctx, layer, read); err != nil {
			return fmt.Errorf("%s: blob %s: %w", r.name, layer.Digest, err)
		}
	}
	return nil
}

// checkReferrers returns an error if one of the referrers is not listed or not complete. See
// checkComplete for read.
func (r repository) checkReferrers(ctx context.Context, by []referrer, read map[digest.Digest]bool) error {
	for _, a := range by {
		list, err := r.digest(ctx, a.list)
		if err != nil {
			return err
		}
		if list == "" {
			return fmt.Errorf("%s: there is no list %s", r.name, a.list)
		}
		c, err := r.read(ctx, list)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(c.Manifests, func(d ocispec.Descriptor) bool { return d.Digest == a.digest }) {
			return fmt.Errorf("%s: the list %s does not name %s", r.name, a.list, a.digest)
		}
		if err := r.checkComplete(ctx, a.digest, read); err != nil {
			return err
		}
	}
	return nil
}

func (r repository) checkBlob(ctx context.Context, d ocispec.Descriptor, read map[digest.Digest]bool) error {
	found, err := r.blobs.Stat(ctx, d.Digest)
	if err == nil && found.Size != d.Size {
		err = fmt.Errorf("it has %d bytes and not %d", found.Size, d.Size)
	}
	if err != nil || read == nil || read[d.Digest] {
		return err
	}
	content, err := r.blobs.Open(ctx, d.Digest)
	if err != nil {
		return err
	}
	defer content.Close()
	verifier := d.Digest.Verifier()
	if _, err := io.Copy(verifier, content); err != nil {
		return err
	}
	if !verifier.Verified() {
		return errors.New("its bytes have another digest")
	}
	read[d.Digest] = true
	return nil
}
