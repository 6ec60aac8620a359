package layout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// fileOf is where a digest's bytes are. d was validated, so that it is a name.
func fileOf(d digest.Digest) string {
	return ocispec.ImageBlobsDir + "/" + d.Algorithm().String() + "/" + d.Encoded()
}

// content opens a blob's file.
func (l *Layout) content(d digest.Digest) (openFile, error) {
	if err := registry.ValidateDigest(d); err != nil {
		return openFile{}, err
	}
	file, err := l.files.open(fileOf(d))
	if errors.Is(err, fs.ErrNotExist) {
		err = &registry.Error{Kind: registry.ErrNotFound, Message: "the layout does not hold it",
			Hint: "The layout is not complete: build or copy it again. Some tools leave out layers that they know to be at a registry."}
	}
	return file, err
}

func (l *Layout) sizeOf(d digest.Digest) (int64, error) {
	file, err := l.content(d)
	if err != nil {
		return 0, err
	}
	return file.size, file.Close()
}

// GetManifest reads a manifest and verifies it. Its media type is what the index
// says that names it, or else what it says itself.
func (l *Layout) GetManifest(ctx context.Context, reference string) (registry.Manifest, error) {
	const op = "read the manifest"
	found, err := l.Resolve(ctx, reference)
	if err != nil {
		return registry.Manifest{}, l.during(err, op, reference)
	}
	m, err := l.manifest(found.Digest, found.MediaType)
	if err != nil {
		return registry.Manifest{}, l.during(err, op, reference)
	}
	if contents, err := m.Parse(); err == nil {
		l.learn(contents.Manifests)
	}
	return m, nil
}

func (l *Layout) manifest(d digest.Digest, mediaType string) (registry.Manifest, error) {
	file, err := l.content(d)
	if err != nil {
		return registry.Manifest{}, err
	}
	content, err := readCapped(file, "it", maxManifest)
	if err != nil {
		return registry.Manifest{}, err
	}
	if mediaType == "" {
		mediaType = mediaTypeOf(content)
	}
	if mediaType == "" { // schema 1 manifests do not say theirs
		_, _ = l.entries() // which learns the media types; that there is none is the error
		mediaType = l.typeOf(d)
	}
	if mediaType == "" {
		return registry.Manifest{}, &registry.Error{Kind: registry.ErrInvalidManifest, Message: "neither it nor an index says what media type it has"}
	}
	m, err := registry.NewManifest(mediaType, content, d.Algorithm())
	if err == nil && m.Digest != d {
		err = &registry.Error{Kind: registry.ErrMismatch, Message: fmt.Sprintf("its bytes have the digest %s", m.Digest),
			Hint: hintDamaged}
	}
	return m, err
}

// mediaTypeOf is what a manifest says that it is, by its mediaType or, where it
// has none, by what only one kind has (OCI image specification, "Image Manifest"
// and "Image Index", where the field is optional).
func mediaTypeOf(content []byte) string {
	var said struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
		Config    json.RawMessage `json:"config"`
	}
	switch err := json.Unmarshal(content, &said); {
	case err != nil:
		return ""
	case said.MediaType != "":
		return said.MediaType
	case said.Manifests != nil:
		return ocispec.MediaTypeImageIndex
	case said.Config != nil:
		return ocispec.MediaTypeImageManifest
	}
	return ""
}

// StatBlob returns the size of a blob's file, which it reads, unless this process has
// read it before: a file may be damaged and have the right size. The error matches
// registry.ErrMismatch then.
func (l *Layout) StatBlob(ctx context.Context, d digest.Digest) (registry.Descriptor, error) {
	const op = "look up the blob"
	if err := l.ended(ctx, op, d.String()); err != nil {
		return registry.Descriptor{}, err
	}
	size, err := l.intact(ctx, d, trustRead)
	if err != nil {
		return registry.Descriptor{}, l.during(err, op, d.String())
	}
	return registry.Descriptor{Digest: d, Size: size}, nil
}

// GetBlob opens a blob's file, which is verified while it is read.
func (l *Layout) GetBlob(ctx context.Context, d registry.Descriptor) (io.ReadCloser, error) {
	const op = "read the blob"
	if err := l.ended(ctx, op, d.Digest.String()); err != nil {
		return nil, err
	}
	if err := registry.ValidateDescriptor(d); err != nil {
		return nil, err
	}
	file, err := l.content(d.Digest)
	if err != nil {
		return nil, l.during(err, op, d.Digest.String())
	}
	if file.size != d.Size {
		_ = file.Close()
		return nil, l.during(&registry.Error{Kind: registry.ErrMismatch, Message: fmt.Sprintf("it has %d bytes and its descriptor says %d", file.size, d.Size), Hint: hintDamaged}, op, d.Digest.String())
	}
	return verified{registry.Verify(file, d, l.Name())}, nil
}

// verified is a blob's file that is verified while it is read.
type verified struct{ io.ReadCloser }

// Read says of other bytes what can be done about them here, where no registry
// and no proxy is in between.
func (v verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	if e, ok := errors.AsType[*registry.Error](err); ok && errors.Is(err, registry.ErrMismatch) {
		damaged := *e
		damaged.Hint = hintDamaged
		err = &damaged
	}
	return n, err
}
