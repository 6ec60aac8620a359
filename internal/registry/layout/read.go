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

// blobPath returns the slash-separated name of the file of d, which must be a valid digest.
func blobPath(d digest.Digest) string {
	return ocispec.ImageBlobsDir + "/" + d.Algorithm().String() + "/" + d.Encoded()
}

// openBlob opens the file of a blob or manifest.
func (l *Layout) openBlob(d digest.Digest) (openFile, error) {
	if err := registry.ValidateDigest(d); err != nil {
		return openFile{}, err
	}
	file, err := l.files.open(blobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		err = &registry.Error{Kind: registry.ErrNotFound, Message: "the layout does not hold it",
			Hint: "The layout is not complete: build or copy it again. Some tools leave out layers that they know to be at a registry."}
	}
	return file, err
}

func (l *Layout) blobSize(d digest.Digest) (int64, error) {
	file, err := l.openBlob(d)
	if err != nil {
		return 0, err
	}
	return file.size, file.Close()
}

// GetManifest reads a manifest and verifies it. Its media type is the one that the index
// declares or, if the index declares none, the one in the manifest.
func (l *Layout) GetManifest(ctx context.Context, reference string) (registry.Manifest, error) {
	const op = "read the manifest"
	found, err := l.Resolve(ctx, reference)
	if err != nil {
		return registry.Manifest{}, l.opError(err, op, reference)
	}
	m, err := l.readManifest(found.Digest, found.MediaType)
	if err != nil {
		return registry.Manifest{}, l.opError(err, op, reference)
	}
	if contents, err := m.Parse(); err == nil {
		l.recordTypes(contents.Manifests)
	}
	return m, nil
}

func (l *Layout) readManifest(d digest.Digest, mediaType string) (registry.Manifest, error) {
	file, err := l.openBlob(d)
	if err != nil {
		return registry.Manifest{}, err
	}
	content, err := readLimited(file, "it", maxManifest)
	if err != nil {
		return registry.Manifest{}, err
	}
	if mediaType == "" {
		mediaType = detectMediaType(content)
	}
	if mediaType == "" { // schema 1 manifests have no mediaType field
		// readIndex records the media types. If it fails, the error below reports the missing type.
		_, _ = l.readIndex()
		mediaType = l.recordedType(d)
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

// detectMediaType returns the mediaType field of a manifest. If the manifest has none, it
// detects the type from a field that only one kind of manifest has (OCI image specification,
// "Image Manifest" and "Image Index", which make the field optional).
func detectMediaType(content []byte) string {
	var filled struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
		Config    json.RawMessage `json:"config"`
	}
	switch err := json.Unmarshal(content, &filled); {
	case err != nil:
		return ""
	case filled.MediaType != "":
		return filled.MediaType
	case filled.Manifests != nil:
		return ocispec.MediaTypeImageIndex
	case filled.Config != nil:
		return ocispec.MediaTypeImageManifest
	}
	return ""
}

// StatBlob returns the size of a blob. It reads the file, unless this process has read it
// before, because a damaged file may have the right size. The error matches
// registry.ErrMismatch if the file is damaged.
func (l *Layout) StatBlob(ctx context.Context, d digest.Digest) (registry.Descriptor, error) {
	const op = "look up the blob"
	if err := l.contextError(ctx, op, d.String()); err != nil {
		return registry.Descriptor{}, err
	}
	size, err := l.verifyBlob(ctx, d, trustRead)
	if err != nil {
		return registry.Descriptor{}, l.opError(err, op, d.String())
	}
	return registry.Descriptor{Digest: d, Size: size}, nil
}

// GetBlob opens a blob. The content is verified while it is read.
func (l *Layout) GetBlob(ctx context.Context, d registry.Descriptor) (io.ReadCloser, error) {
	const op = "read the blob"
	if err := l.contextError(ctx, op, d.Digest.String()); err != nil {
		return nil, err
	}
	if err := registry.ValidateDescriptor(d); err != nil {
		return nil, err
	}
	file, err := l.openBlob(d.Digest)
	if err != nil {
		return nil, l.opError(err, op, d.Digest.String())
	}
	if file.size != d.Size {
		_ = file.Close()
		return nil, l.opError(&registry.Error{Kind: registry.ErrMismatch, Message: fmt.Sprintf("it has %d bytes and its descriptor says %d", file.size, d.Size), Hint: hintDamaged}, op, d.Digest.String())
	}
	return verifiedBlob{registry.Verify(file, d, l.Name())}, nil
}

// verifiedBlob is a blob that is verified while it is read.
type verifiedBlob struct{ io.ReadCloser }

// Read replaces the hint of a mismatch, because the default hint is about registries and
// proxies.
func (v verifiedBlob) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	if e, ok := errors.AsType[*registry.Error](err); ok && errors.Is(err, registry.ErrMismatch) {
		damaged := *e
		damaged.Hint = hintDamaged
		err = &damaged
	}
	return n, err
}
