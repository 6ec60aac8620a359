// Package layout is an OCI image layout on disk as a registry.Repository: a
// folder, read and written, or the tar archive of one, read alone (OCI image
// specification, "OCI Image Layout").
//
// What a layout holds is believed as little as what a registry sends: no name in
// it leads out of it, what is read into memory has a cap, and all bytes are
// verified while they are read.
package layout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// maxManifest is the largest manifest that is read, and maxMarker the largest
// file that says that a folder is a layout.
const (
	maxManifest = 4 << 20
	maxMarker   = 64 << 10
)

// files are those of a layout, by their slash-separated names in it.
type files interface {
	// open gives a regular file and its size. The error matches fs.ErrNotExist
	// where there is none.
	open(name string) (io.ReadCloser, int64, error)
}

// Layout is a layout as a repository of its own. It may be used by many at a
// time.
type Layout struct {
	path   string // absolute, without symbolic links
	files  files
	writes bool

	mu sync.Mutex
	// types are the media types of manifests, as what names them says.
	types map[digest.Digest]string
	// subjects are what manifests refer to, as far as they were read.
	subjects map[digest.Digest]digest.Digest
}

// Open opens a layout to read from: a folder, or an uncompressed tar archive of
// one, as `docker buildx build --output type=oci`, skopeo and podman make them.
// The error matches registry.ErrNotFound where there is nothing at path, and
// registry.ErrInvalidLayout where what is there is no layout.
func Open(path string) (*Layout, error) {
	l, err := at(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(l.path)
	switch {
	case err != nil:
		return nil, l.fault(err)
	case info.IsDir():
		l.files = folder(l.path)
	case info.Mode().IsRegular():
		if l.files, err = openTar(l.path); err != nil {
			return nil, l.fault(err)
		}
	default:
		return nil, l.invalid("it is neither a folder nor a file")
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	return l, nil
}

// Create opens a layout to write to, which is a folder that holds one, an empty
// one, or none yet: what is missing is made with the first write. The error
// matches registry.ErrInvalidLayout where something else is there.
func Create(path string) (*Layout, error) {
	l, err := at(path)
	if err != nil {
		return nil, err
	}
	l.files, l.writes = folder(l.path), true
	if info, err := os.Stat(l.path); err == nil && !info.IsDir() {
		return nil, l.told(&registry.Error{Kind: registry.ErrInvalidLayout, Message: "it is a file, and an archive can be read but not written to", Hint: hintWritten})
	}
	entries, err := os.ReadDir(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && !slices.ContainsFunc(entries, notBegun):
		return l, nil
	case err != nil:
		return nil, l.fault(err)
	}
	if err := l.check(); err != nil {
		if e, ok := errors.AsType[*registry.Error](err); ok && errors.Is(err, registry.ErrInvalidLayout) {
			e.Hint = hintWritten
		}
		return nil, err
	}
	return l, nil
}

// notBegun says whether an entry of a folder is anything else than a file that
// somebody begins to write, who makes a layout of the folder in this moment.
func notBegun(entry fs.DirEntry) bool { return !strings.HasPrefix(entry.Name(), begun) }

// at is a layout at a path, of which nothing is known.
func at(path string) (*Layout, error) {
	absolute, err := absolute(path)
	if err != nil {
		return nil, &registry.Error{Op: "open the image layout", Repository: Scheme + registry.Clean(path), Kind: registry.ErrInvalidReference, Err: err}
	}
	return &Layout{path: absolute, types: map[digest.Digest]string{}, subjects: map[digest.Digest]digest.Digest{}}, nil
}

// check looks for the file that makes a folder a layout.
func (l *Layout) check() error {
	content, err := l.read(ocispec.ImageLayoutFile, maxMarker)
	if errors.Is(err, fs.ErrNotExist) {
		return l.invalid(fmt.Sprintf("it holds no file %q", ocispec.ImageLayoutFile))
	}
	if err != nil {
		return l.fault(err)
	}
	var marker ocispec.ImageLayout
	if json.Unmarshal(content, &marker) != nil || !strings.HasPrefix(marker.Version, "1.") {
		return l.invalid(fmt.Sprintf("its file %q does not say that it is one of version 1", ocispec.ImageLayoutFile))
	}
	return nil
}

// Name returns oci: and the path of the real folder.
func (l *Layout) Name() string { return nameOfLayout(l.path) }

// Host is the same: nothing can be mounted from one layout into another.
func (l *Layout) Host() string { return l.Name() }

// Mask returns text as it is: no secret opens a layout.
func (l *Layout) Mask(text string) string { return text }

// read reads a file of the layout into memory, at most limit bytes of it.
func (l *Layout) read(name string, limit int64) ([]byte, error) {
	file, _, err := l.files.open(name)
	if err != nil {
		return nil, err
	}
	return readCapped(file, name, limit)
}

// readCapped reads a file into memory and closes it, and names it where it is too
// large.
func readCapped(file io.ReadCloser, name string, limit int64) ([]byte, error) {
	defer file.Close()
	content, err := registry.ReadCapped(file, limit)
	if errors.Is(err, registry.ErrLimit) {
		err = &registry.Error{Kind: registry.ErrLimit, Message: fmt.Sprintf("%s is larger than the %d bytes that are read", name, limit), Hint: registry.Advice(registry.ErrLimit)}
	}
	return content, err
}

const hint = "An image layout is a folder with the files oci-layout and index.json and the folder blobs, or the uncompressed tar archive of one, " +
	"as `docker buildx build --output type=oci,dest=image.tar` and `skopeo copy … oci:PATH` write it."

// hintWritten is for where one is to be written.
const hintWritten = "What is written to is a folder that holds an image layout, an empty one, or one that is not there yet. Name another one, or empty it."

// hintDamaged is for what is there, and is not what it should be.
const hintDamaged = "The layout is damaged: build or copy it again."

// invalid is the error of what is no layout.
func (l *Layout) invalid(why string) error {
	return l.told(&registry.Error{Kind: registry.ErrInvalidLayout, Message: why, Hint: hint})
}

// fault is the error of a file system, or one of this package that does not say
// yet where it is.
func (l *Layout) fault(err error) error {
	if e, ok := errors.AsType[*registry.Error](err); ok {
		return l.told(e)
	}
	kind := registry.ErrUnavailable
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = registry.ErrNotFound
	case errors.Is(err, fs.ErrPermission):
		kind = registry.ErrDenied
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err // the path is the repository's name
	}
	return l.told(&registry.Error{Kind: kind, Err: err, Hint: hint})
}

// told fills in where an error is and what was attempted, as far as that is not
// said.
func (l *Layout) told(e *registry.Error) error {
	filled := *e
	if filled.Repository == "" {
		filled.Repository = registry.Clean(l.Name())
	}
	if filled.Op == "" {
		filled.Op = "open the image layout"
	}
	return &filled
}

// during says what was attempted when an error came up.
func (l *Layout) during(err error, op, about string) error {
	e, ok := errors.AsType[*registry.Error](l.fault(err))
	if !ok {
		return err
	}
	said := *e
	said.Op, said.Reference = op, registry.Clean(about)
	return &said
}

// ended is the error of an operation whose context is over, nil where it is not.
func (l *Layout) ended(ctx context.Context, op, about string) error {
	if cause := context.Cause(ctx); cause != nil {
		return l.during(&registry.Error{Kind: registry.ErrUnavailable, Err: cause}, op, about)
	}
	return nil
}
