package main

import (
	"context"
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// seeder pushes images. It uploads each blob once and then mounts it.
type seeder struct {
	registry *registry
	uploaded map[digest.Digest]string // a repository of each uploaded blob
}

// push pushes an image with a tag, or by its digest if reference is "", and returns its
// descriptor.
func (s *seeder) push(ctx context.Context, repository, reference string, i image) (ocispec.Descriptor, error) {
	var m blob
	if i.children != nil {
		var children []ocispec.Descriptor
		for _, child := range i.children {
			d, err := s.push(ctx, repository, "", child)
			if err != nil {
				return d, err
			}
			d.Platform = &child.platform
			children = append(children, d)
		}
		m = imageIndex(children)
	} else {
		layers, err := s.blobs(ctx, repository, i.layers)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		config, err := s.blob(ctx, repository, i.configuration(layers))
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		m = imageManifest(config, layers)
	}
	d := m.descriptor()
	if reference == "" {
		reference = d.Digest.String()
	}
	_, err := s.registry.send(ctx, http.MethodPut, "/v2/"+repository+"/manifests/"+reference, m, http.StatusCreated)
	return d, err
}

func (s *seeder) blobs(ctx context.Context, repository string, blobs []blob) ([]ocispec.Descriptor, error) {
	var ds []ocispec.Descriptor
	for _, b := range blobs {
		d, err := s.blob(ctx, repository, b)
		if err != nil {
			return nil, err
		}
		ds = append(ds, d)
	}
	return ds, nil
}

func (s *seeder) blob(ctx context.Context, repository string, b blob) (ocispec.Descriptor, error) {
	d := b.descriptor()
	uploads := "/v2/" + repository + "/blobs/uploads/"
	if from := s.uploaded[d.Digest]; from != "" {
		_, err := s.registry.send(ctx, http.MethodPost, uploads+"?"+url.Values{"mount": {d.Digest.String()}, "from": {from}}.Encode(), blob{}, http.StatusCreated)
		return d, err
	}
	header, err := s.registry.send(ctx, http.MethodPost, uploads, blob{}, http.StatusAccepted)
	if err != nil {
		return d, err
	}
	session, err := withDigest(header.Get("Location"), d.Digest)
	if err != nil {
		return d, err
	}
	b.mediaType = "application/octet-stream"
	_, err = s.registry.send(ctx, http.MethodPut, session, b, http.StatusCreated)
	s.uploaded[d.Digest] = repository
	return d, err
}
