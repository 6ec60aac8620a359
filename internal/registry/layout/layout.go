// Package layout is an OCI image layout on disk as a registry.Repository: a
// folder, read and written, or the tar archive of one, read alone (OCI image
// specification, "OCI Image Layout").
//
// What a layout holds is believed as little as what a registry sends: no name in
// it leads out of it, what is read into memory has a cap, and all bytes are
// verified while they are read.
package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
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
	// open opens a regular file. The error matches fs.ErrNotExist if it does not
	// exist.
	open(name string) (openFile, error)
}

// openFile is an open file of a layout.
type openFile struct {
	io.ReadCloser
	size int64
	// stored is the file on disk that holds the content: the file itself, or the
	// archive that it is in.
	stored fs.FileInfo
}

// Layout is a layout as a repository of its own. It may be used by many at a
// time.
type Layout struct {
	path   string // absolute, without symbolic links
	files  files
	writes bool
	log    *slog.Logger

	// sweep removes abandoned temporary files, once, before the first write.
	sweep sync.Once
	// intercept is called before an operation on a file, and makes it fail. It is
	// nil except in tests.
	intercept func(op, name string) error

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
	case errors.Is(err, fs.ErrNotExist) || err == nil && !slices.ContainsFunc(entries, notTemporary):
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

// notTemporary reports whether an entry of a folder is not a temporary file: another
// writer may be about to make a layout of the folder.
func notTemporary(entry fs.DirEntry) bool { return !strings.HasPrefix(entry.Name(), temporaryPrefix) }

// at is a layout at a path, of which nothing is known.
func at(path string) (*Layout, error) {
	absolute, err := absolute(path)
	if err != nil {
		return nil, &registry.Error{Op: "open the image layout", Repository: Scheme + registry.Sanitize(path), Kind: registry.ErrInvalidReference, Err: err}
	}
	return &Layout{path: absolute, log: slog.New(slog.DiscardHandler), types: map[digest.Digest]string{}, subjects: map[digest.Digest]digest.Digest{}}, nil
}

// WithLogger sets where the layout logs, at debug level, that it waits for a lock,
// replaces damaged content or removes abandoned files. It returns l, and must be
// called before l is used.
func (l *Layout) WithLogger(log *slog.Logger) *Layout {
	l.log = log
	return l
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

// Redact returns text as it is: no secret opens a layout.
func (l *Layout) Redact(text string) string { return text }

// read reads a file of the layout into memory, at most limit bytes of it.
func (l *Layout) read(name string, limit int64) ([]byte, error) {
	file, err := l.files.open(name)
	if err != nil {
		return nil, err
	}
	return readCapped(file, name, limit)
}

// readCapped reads a file into memory and closes it, and names it where it is too
// large.
func readCapped(file io.ReadCloser, name string, limit int64) ([]byte, error) {
	defer file.Close()
	content, err := registry.ReadLimited(file, limit)
	if errors.Is(err, registry.ErrLimit) {
		err = &registry.Error{Kind: registry.ErrLimit, Message: fmt.Sprintf("%s is larger than the %d bytes that are read", name, limit), Hint: registry.DefaultHint(registry.ErrLimit)}
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
