package layout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// checkWritable returns an error if the layout is read-only or ctx ended.
func (l *Layout) checkWritable(ctx context.Context, op, reference string) error {
	if !l.writable {
		return l.opError(&registry.Error{Kind: registry.ErrUnsupported, Message: "the layout was opened to be read alone"}, op, reference)
	}
	return l.contextError(ctx, op, reference)
}

// PutBlob writes the file of a blob atomically. If the file exists, PutBlob reads it, unless
// this process has read it before, and replaces it if it is damaged.
func (l *Layout) PutBlob(ctx context.Context, d registry.Descriptor, content registry.Content) (registry.Outcome, error) {
	const op = "write the blob"
	if err := l.checkWritable(ctx, op, d.Digest.String()); err != nil {
		return "", err
	}
	if err := registry.ValidateDescriptor(d); err != nil {
		return "", err
	}
	if !content.Force && l.hasBlob(ctx, d) {
		return registry.AlreadyExists, nil
	}
	if err := l.contextError(ctx, op, d.Digest.String()); err != nil {
		return "", err
	}
	from, err := content.Open(ctx)
	if err != nil {
		return "", err
	}
	defer from.Close()
	source := &contextReader{ctx: ctx, from: from}
	content.Sending.Start()
	defer content.Sending.Stop()
	stored, err := l.writeFile(ctx, blobPath(d.Digest), func(w io.Writer) error {
		written, err := io.Copy(w, source)
		if err == nil && written != d.Size {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
	if source.err != nil {
		return "", source.err // the caller adds context to an error of the source
	}
	if err != nil {
		return "", l.opError(err, op, d.Digest.String())
	}
	hashed.add(l.cacheKey(d.Digest), hashedFile{stored: stored, at: time.Now()})
	return registry.Copied, nil
}

// hasBlob reports whether the layout has an intact copy of the blob with the size of its
// descriptor.
func (l *Layout) hasBlob(ctx context.Context, d registry.Descriptor) bool {
	size, err := l.blobSize(d.Digest)
	if err != nil {
		return false
	}
	if size == d.Size {
		_, err = l.verifyBlob(ctx, d.Digest, trustRead)
		if err == nil {
			return true
		}
	}
	if ctx.Err() == nil {
		l.log.DebugContext(ctx, "replacing a damaged blob of an image layout", "layout", l.Name(), "digest", d.Digest, "size", d.Size, "found_size", size)
	}
	return false
}

// contextReader is a reader that fails when a context ends. It records its first error other
// than io.EOF.
type contextReader struct {
	ctx  context.Context //nolint:containedctx // only for the duration of one call
	from io.Reader
	err  error
}

func (c *contextReader) Read(p []byte) (int, error) {
	if cause := context.Cause(c.ctx); cause != nil {
		c.err = cause
		return 0, cause
	}
	n, err := c.from.Read(p)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// PutManifest writes a manifest. If reference is a tag, it also adds the manifest to the index,
// replacing the manifest that had the tag. It does not write a manifest that readers of the
// layout would reject.
func (l *Layout) PutManifest(ctx context.Context, reference string, m registry.Manifest) error {
	const op = "write the manifest"
	if err := l.checkWritable(ctx, op, reference); err != nil {
		return err
	}
	err := validateManifest(m)
	if err == nil {
		err = l.checkChildren(ctx, m)
	}
	switch {
	case err != nil:
	case reference == m.Digest.String():
		err = l.writeManifest(ctx, m)
	default:
		err = l.putTagged(ctx, reference, m)
	}
	if err != nil {
		return l.opError(err, op, reference)
	}
	return nil
}

// writeManifest writes the file of a manifest, even if it exists: it is small, and may be
// damaged.
func (l *Layout) writeManifest(ctx context.Context, m registry.Manifest) error {
	stored, err := l.writeFile(ctx, blobPath(m.Digest), writeBytes(m.Content))
	if err == nil {
		hashed.add(l.cacheKey(m.Digest), hashedFile{stored: stored, at: time.Now()})
	}
	return err
}

// validateManifest returns an error if readers of a layout would reject the manifest.
func validateManifest(m registry.Manifest) error {
	if size := len(m.Content); size > maxManifest {
		return &registry.Error{Kind: registry.ErrLimit, Hint: registry.DefaultHint(registry.ErrLimit),
			Message: fmt.Sprintf("it has %d bytes, and at most %d are read of a manifest in an image layout", size, maxManifest)}
	}
	if err := registry.ValidateDigest(m.Digest); err != nil {
		return err
	}
	read, err := registry.NewManifest(m.MediaType, m.Content, m.Digest.Algorithm())
	if err == nil && read.Digest != m.Digest {
		err = &registry.Error{Kind: registry.ErrMismatch, Message: fmt.Sprintf("its bytes have the digest %s", read.Digest)}
	}
	return err
}

// checkChildren returns an error unless the layout has all content that the manifest refers to,
// intact. A registry enforces the same.
func (l *Layout) checkChildren(ctx context.Context, m registry.Manifest) error {
	contents, err := m.Parse()
	if err != nil {
		return err
	}
	for _, d := range append(contents.Blobs(), contents.Manifests...) {
		if err := l.checkChild(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// checkChild returns an error unless the layout has the content of d, intact.
func (l *Layout) checkChild(ctx context.Context, d registry.Descriptor) error {
	var size int64
	var err error
	if registry.IsSchema1(d.MediaType) { // the digest and size do not include the signatures
		_, err = l.blobSize(d.Digest)
		d.Size = registry.SizeUnknown
	} else {
		size, err = l.verifyBlob(ctx, d.Digest, trustWritten)
	}
	message := ""
	switch {
	case errors.Is(err, registry.ErrNotFound) && registry.IsNonDistributable(d):
		return nil
	case errors.Is(err, registry.ErrNotFound):
		message = fmt.Sprintf("it names %s, which the layout does not hold", d.Digest)
	case errors.Is(err, registry.ErrMismatch):
		message = fmt.Sprintf("it names %s, which is damaged in the layout", d.Digest)
	case err == nil && d.Size != registry.SizeUnknown && size != d.Size:
		message = fmt.Sprintf("it names %s with %d bytes, and in the layout it has %d", d.Digest, d.Size, size)
	default:
		return err
	}
	return &registry.Error{Kind: registry.ErrMissingContent, Message: message}
}

// WithLock runs f while no other copy writes a list of referrers to the layout. It locks the
// folder blobs instead of the layout, because f changes the index, which locks the layout.
func (l *Layout) WithLock(ctx context.Context, f func() error) error {
	ran := false
	err := l.withFolderLock(ctx, filepath.Join(l.path, ocispec.ImageBlobsDir), func() error {
		ran = true
		return f()
	})
	if err != nil && !ran {
		return l.opError(err, "write the list of referrers", "")
	}
	return err
}
