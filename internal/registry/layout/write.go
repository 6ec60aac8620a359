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

// mayWrite refuses to write where nothing can be.
func (l *Layout) mayWrite(ctx context.Context, op, about string) error {
	if !l.writes {
		return l.during(&registry.Error{Kind: registry.ErrUnsupported, Message: "the layout was opened to be read alone"}, op, about)
	}
	return l.ended(ctx, op, about)
}

// PutBlob writes a blob's file, whole or not at all. A file that is there is read,
// unless this process has read it before, and replaced if it is damaged.
func (l *Layout) PutBlob(ctx context.Context, d registry.Descriptor, content registry.Content) (registry.Outcome, error) {
	const op = "write the blob"
	if err := l.mayWrite(ctx, op, d.Digest.String()); err != nil {
		return "", err
	}
	if err := registry.ValidateDescriptor(d); err != nil {
		return "", err
	}
	if !content.Force && l.holds(ctx, d) {
		return registry.AlreadyExists, nil
	}
	if err := l.ended(ctx, op, d.Digest.String()); err != nil {
		return "", err
	}
	from, err := content.Open(ctx)
	if err != nil {
		return "", err
	}
	defer from.Close()
	source := &cancellable{ctx: ctx, from: from}
	content.Sending.Start()
	defer content.Sending.Stop()
	stored, err := l.place(ctx, fileOf(d.Digest), func(w io.Writer) error {
		written, err := io.Copy(w, source)
		if err == nil && written != d.Size {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
	if source.err != nil {
		return "", source.err // the caller's to explain
	}
	if err != nil {
		return "", l.during(err, op, d.Digest.String())
	}
	hashed.add(l.keyOf(d.Digest), hashedFile{stored: stored, at: time.Now()})
	return registry.Copied, nil
}

// holds reports whether the layout has a blob, with the size and the bytes that it
// should have.
func (l *Layout) holds(ctx context.Context, d registry.Descriptor) bool {
	size, err := l.sizeOf(d.Digest)
	if err != nil {
		return false
	}
	if size == d.Size {
		_, err = l.intact(ctx, d.Digest, trustRead)
		if err == nil {
			return true
		}
	}
	if ctx.Err() == nil {
		l.log.DebugContext(ctx, "replacing a damaged blob of an image layout", "layout", l.Name(), "digest", d.Digest, "size", d.Size, "found_size", size)
	}
	return false
}

// cancellable is content that ends with a context, and remembers what it failed
// with.
type cancellable struct {
	ctx  context.Context //nolint:containedctx // of the one call that reads it
	from io.Reader
	err  error
}

func (c *cancellable) Read(p []byte) (int, error) {
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

// PutManifest writes a manifest and, under a tag, enters it into the index, in place
// of what had the tag. A manifest that readers of the layout would refuse is not
// written.
func (l *Layout) PutManifest(ctx context.Context, reference string, m registry.Manifest) error {
	const op = "write the manifest"
	if err := l.mayWrite(ctx, op, reference); err != nil {
		return err
	}
	err := sound(m)
	if err == nil {
		err = l.complete(ctx, m)
	}
	switch {
	case err != nil:
	case reference == m.Digest.String():
		err = l.placeManifest(ctx, m)
	default:
		err = l.tag(ctx, reference, m)
	}
	if err != nil {
		return l.during(err, op, reference)
	}
	return nil
}

// placeManifest writes the file of a manifest, also if there is one: it is small, and
// may be damaged.
func (l *Layout) placeManifest(ctx context.Context, m registry.Manifest) error {
	stored, err := l.place(ctx, fileOf(m.Digest), bytesOf(m.Content))
	if err == nil {
		hashed.add(l.keyOf(m.Digest), hashedFile{stored: stored, at: time.Now()})
	}
	return err
}

// sound returns an error if readers of a layout would refuse a manifest.
func sound(m registry.Manifest) error {
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

// complete returns an error unless all that a manifest names is there and intact, as
// a registry does.
func (l *Layout) complete(ctx context.Context, m registry.Manifest) error {
	contents, err := m.Parse()
	if err != nil {
		return err
	}
	for _, d := range append(contents.Blobs(), contents.Manifests...) {
		if err := l.has(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// has returns an error unless what a manifest names is there and intact.
func (l *Layout) has(ctx context.Context, d registry.Descriptor) error {
	var size int64
	var err error
	if registry.IsSchema1(d.MediaType) { // its digest and size are not those of its file
		_, err = l.sizeOf(d.Digest)
		d.Size = registry.SizeUnknown
	} else {
		size, err = l.intact(ctx, d.Digest, trustWritten)
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

// WithLock runs f while no other copy writes a list of referrers into the
// folder. It has a lock of its own, the one of the folder blobs, because f changes
// the index, which takes the folder's.
func (l *Layout) WithLock(ctx context.Context, f func() error) error {
	ran := false
	err := l.exclusively(ctx, filepath.Join(l.path, ocispec.ImageBlobsDir), func() error {
		ran = true
		return f()
	})
	if err != nil && !ran {
		return l.during(err, "write the list of referrers", "")
	}
	return err
}
