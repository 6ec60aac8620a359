package layout

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
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

// PutBlob writes a blob's file, whole or not at all. One that is there and has
// the right size is believed.
func (l *Layout) PutBlob(ctx context.Context, d registry.Descriptor, content registry.Content) (registry.Outcome, error) {
	const op = "write the blob"
	if err := l.mayWrite(ctx, op, d.Digest.String()); err != nil {
		return "", err
	}
	if err := registry.ValidateDescriptor(d); err != nil {
		return "", err
	}
	if size, err := l.sizeOf(d.Digest); err == nil && size == d.Size && !content.Distrust {
		return registry.Present, nil
	}
	from, err := content.Open(ctx)
	if err != nil {
		return "", err
	}
	defer from.Close()
	source := &cancellable{ctx: ctx, from: from}
	err = l.place(fileOf(d.Digest), func(w io.Writer) error {
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
	return registry.Copied, nil
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

// PutManifest writes a manifest, and under a tag enters it into the index, in
// place of what had the tag.
func (l *Layout) PutManifest(ctx context.Context, reference string, m registry.Manifest) error {
	const op = "write the manifest"
	if err := l.mayWrite(ctx, op, reference); err != nil {
		return err
	}
	if err := l.complete(m); err != nil {
		return l.during(err, op, reference)
	}
	if err := l.place(fileOf(m.Digest), bytesOf(m.Content)); err != nil {
		return l.during(err, op, reference)
	}
	if reference == m.Digest.String() {
		return nil
	}
	err := l.change(ctx, func(entries []json.RawMessage) []json.RawMessage {
		d := m.Descriptor()
		d.Annotations = map[string]string{ocispec.AnnotationRefName: reference}
		entry, _ := json.Marshal(d) // which has nothing that cannot be
		return append(without(entries, func(d registry.Descriptor) bool { return nameOf(d) == reference }), entry)
	})
	if err != nil {
		return l.during(err, op, reference)
	}
	return nil
}

// complete makes sure that all that a manifest names is there, as a registry
// does.
func (l *Layout) complete(m registry.Manifest) error {
	contents, err := m.Parse()
	if err != nil {
		return err
	}
	for _, d := range append(contents.Blobs(), contents.Manifests...) {
		if _, err := l.sizeOf(d.Digest); err != nil && !registry.IsForeign(d) {
			return &registry.Error{Kind: registry.ErrMissingContent, Message: "it names " + d.Digest.String() + ", which the layout does not hold"}
		}
	}
	return nil
}

// DeleteTag takes a tag out of the index.
func (l *Layout) DeleteTag(ctx context.Context, tag string) error {
	return l.remove(ctx, "remove the tag", tag, func(d registry.Descriptor) bool { return nameOf(d) == tag })
}

// DeleteManifest takes a manifest out of the index under every tag. Its bytes
// stay: something else may name them.
func (l *Layout) DeleteManifest(ctx context.Context, digest digest.Digest) error {
	return l.remove(ctx, "remove the manifest", digest.String(), func(d registry.Descriptor) bool { return d.Digest == digest })
}

func (l *Layout) remove(ctx context.Context, op, about string, gone func(registry.Descriptor) bool) error {
	if err := l.mayWrite(ctx, op, about); err != nil {
		return err
	}
	removed := 0
	err := l.change(ctx, func(entries []json.RawMessage) []json.RawMessage {
		left := without(entries, gone)
		if removed = len(entries) - len(left); removed == 0 {
			return nil
		}
		return left
	})
	if err == nil && removed == 0 {
		err = &registry.Error{Kind: registry.ErrNotFound, Message: "the layout does not have it"}
	}
	if err != nil {
		return l.during(err, op, about)
	}
	return nil
}

// without leaves out the entries that are gone. What cannot be read stays.
func without(entries []json.RawMessage, gone func(registry.Descriptor) bool) []json.RawMessage {
	return slices.DeleteFunc(slices.Clone(entries), func(entry json.RawMessage) bool {
		var d registry.Descriptor
		return json.Unmarshal(entry, &d) == nil && gone(d)
	})
}

// change writes the index anew, with every entry and field that it is not about
// as it was; not where edit gives nil. Nobody else does so at the same time.
func (l *Layout) change(ctx context.Context, edit func([]json.RawMessage) []json.RawMessage) error {
	return exclusively(ctx, l.path, func() error { return l.rewrite(edit) })
}

func (l *Layout) rewrite(edit func([]json.RawMessage) []json.RawMessage) error {
	content, err := l.read(ocispec.ImageIndexFile, maxManifest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		content = []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `"}`)
	case err != nil:
		return err
	}
	var index map[string]json.RawMessage
	var entries []json.RawMessage
	if err := json.Unmarshal(content, &index); err != nil {
		return &registry.Error{Kind: registry.ErrInvalidLayout, Message: ocispec.ImageIndexFile + " is no JSON object", Hint: hint}
	}
	if list, ok := index["manifests"]; ok {
		if err := json.Unmarshal(list, &entries); err != nil {
			return &registry.Error{Kind: registry.ErrInvalidLayout, Message: ocispec.ImageIndexFile + " has no list of manifests", Hint: hint}
		}
	}
	edited := edit(entries)
	if edited == nil {
		return nil
	}
	if index["manifests"], err = json.Marshal(edited); err != nil {
		return err
	}
	if content, err = json.Marshal(index); err != nil {
		return err
	}
	return l.place(ocispec.ImageIndexFile, bytesOf(content))
}

// Exclusively runs f while no other copy writes a list of referrers into the
// folder. It has a lock of its own, the one of the folder blobs, because f changes
// the index, which takes the folder's.
func (l *Layout) Exclusively(ctx context.Context, f func() error) error {
	if err := exclusively(ctx, filepath.Join(l.path, ocispec.ImageBlobsDir), f); err != nil {
		return l.during(err, "write the list of referrers", "")
	}
	return nil
}

// place writes a file beside its place and moves it there when it is complete,
// so that nobody ever finds half of one. What is missing on the way is made, and
// first of all the file that makes a folder a layout.
func (l *Layout) place(name string, write func(io.Writer) error) error {
	if err := os.MkdirAll(l.path, 0o755); err != nil { //nolint:gosec // an image is no secret: other tools read it
		return err
	}
	root, err := os.OpenRoot(l.path) // no link leads out of it
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := root.Stat(ocispec.ImageLayoutFile); errors.Is(err, fs.ErrNotExist) {
		marker, _ := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
		if err := replace(root, ocispec.ImageLayoutFile, bytesOf(marker)); err != nil {
			return err
		}
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	return replace(root, name, write)
}

// begun is how the names of files begin that are not complete yet.
const begun = ".new-"

func replace(root *os.Root, name string, write func(io.Writer) error) (err error) {
	beside := path.Join(path.Dir(name), begun+rand.Text())
	file, err := root.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = root.Remove(beside)
		}
	}()
	if err := errors.Join(write(file), file.Sync(), file.Close()); err != nil {
		return err
	}
	return root.Rename(beside, name)
}

func bytesOf(content []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	}
}
