// Package layout implements a registry.Repository for an OCI image layout on disk: a folder,
// which can be read and written, or a tar archive of one, which can only be read (OCI image
// specification, "OCI Image Layout").
//
// The content of a layout is as untrusted as the response of a registry. No name in it leads
// out of the layout, whatever is read into memory has a size limit, and all content is verified
// while it is read.
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

// Size limits, in bytes, of manifests and of the oci-layout file.
const (
	maxManifest = 4 << 20
	maxMarker   = 64 << 10
)

// fileOpener opens the files of a layout by their slash-separated names.
type fileOpener interface {
	// open opens a regular file. The error matches fs.ErrNotExist if it does not
	// exist.
	open(name string) (openFile, error)
}

// openFile is an open file of a layout.
type openFile struct {
	io.ReadCloser
	size int64
	// stored describes the file on disk: the file itself, or the archive that contains it.
	stored fs.FileInfo
}

// Layout is an image layout that implements registry.Repository. It is safe for concurrent use.
type Layout struct {
	path     string // absolute, without symbolic links
	files    fileOpener
	writable bool
	log      *slog.Logger

	// sweep removes abandoned temporary files once, before the first write.
	sweep sync.Once
	// intercept is called before an operation on a file, which fails if intercept returns an
	// error. It is nil except in tests.
	intercept func(op, name string) error

	mu sync.Mutex
	// types has the media types that indexes declare for manifests.
	types map[digest.Digest]string
	// subjects has the subjects of the manifests that were read, or "" for those without one.
	subjects map[digest.Digest]digest.Digest
}

// Open opens a layout for reading: a folder, or an uncompressed tar archive of one, as `docker
// buildx build --output type=oci`, skopeo and podman write it. The error matches
// registry.ErrNotFound if path does not exist, and registry.ErrInvalidLayout if it is not a
// layout.
func Open(path string) (*Layout, error) {
	l, err := newLayout(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(l.path)
	switch {
	case err != nil:
		return nil, l.wrapError(err)
	case info.IsDir():
		l.files = folder(l.path)
	case info.Mode().IsRegular():
		if l.files, err = openTar(l.path); err != nil {
			return nil, l.wrapError(err)
		}
	default:
		return nil, l.invalidError("it is neither a folder nor a file")
	}
	if err := l.checkMarker(); err != nil {
		return nil, err
	}
	return l, nil
}

// Create opens a layout for writing: a folder with a layout, an empty folder, or a path that
// does not exist. The first write creates the missing files. The error matches
// registry.ErrInvalidLayout if path is anything else.
func Create(path string) (*Layout, error) {
	l, err := newLayout(path)
	if err != nil {
		return nil, err
	}
	l.files, l.writable = folder(l.path), true
	if info, err := os.Stat(l.path); err == nil && !info.IsDir() {
		return nil, l.fillError(&registry.Error{Kind: registry.ErrInvalidLayout, Message: "it is a file, and an archive can be read but not written to", Hint: hintDestination})
	}
	entries, err := os.ReadDir(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && !slices.ContainsFunc(entries, notTemporary):
		return l, nil
	case err != nil:
		return nil, l.wrapError(err)
	}
	if err := l.checkMarker(); err != nil {
		if e, ok := errors.AsType[*registry.Error](err); ok && errors.Is(err, registry.ErrInvalidLayout) {
			e.Hint = hintDestination
		}
		return nil, err
	}
	return l, nil
}

// notTemporary reports whether an entry of a folder is not a temporary file. A folder with only
// temporary files counts as empty, because another writer may be creating a layout in it.
func notTemporary(entry fs.DirEntry) bool { return !strings.HasPrefix(entry.Name(), temporaryPrefix) }

// newLayout returns a Layout for path, which it does not open.
func newLayout(path string) (*Layout, error) {
	absolute, err := resolvePath(path)
	if err != nil {
		return nil, &registry.Error{Op: "open the image layout", Repository: Scheme + registry.Sanitize(path), Kind: registry.ErrInvalidReference, Err: err}
	}
	return &Layout{path: absolute, log: slog.New(slog.DiscardHandler), types: map[digest.Digest]string{}, subjects: map[digest.Digest]digest.Digest{}}, nil
}

// WithLogger sets the logger of l and returns l. The layout logs at debug level when it waits
// for a lock, replaces damaged content or removes abandoned files. WithLogger must be called
// before l is used.
func (l *Layout) WithLogger(log *slog.Logger) *Layout {
	l.log = log
	return l
}

// checkMarker returns an error unless the layout has a valid oci-layout file.
func (l *Layout) checkMarker() error {
	content, err := l.read(ocispec.ImageLayoutFile, maxMarker)
	if errors.Is(err, fs.ErrNotExist) {
		return l.invalidError(fmt.Sprintf("it holds no file %q", ocispec.ImageLayoutFile))
	}
	if err != nil {
		return l.wrapError(err)
	}
	var marker ocispec.ImageLayout
	if json.Unmarshal(content, &marker) != nil || !strings.HasPrefix(marker.Version, "1.") {
		return l.invalidError(fmt.Sprintf("its file %q does not say that it is one of version 1", ocispec.ImageLayoutFile))
	}
	return nil
}

// Name returns "oci:" followed by the path of the folder, with symbolic links resolved.
func (l *Layout) Name() string { return nameOfLayout(l.path) }

// Host returns the same as Name, because blobs cannot be mounted from one layout in another.
func (l *Layout) Host() string { return l.Name() }

// Redact returns text unchanged, because a layout needs no credentials.
func (l *Layout) Redact(text string) string { return text }

// read returns the content of a file of the layout, which may have at most limit bytes.
func (l *Layout) read(name string, limit int64) ([]byte, error) {
	file, err := l.files.open(name)
	if err != nil {
		return nil, err
	}
	return readLimited(file, name, limit)
}

// readLimited reads at most limit bytes and closes file. The error names the file if it is
// larger.
func readLimited(file io.ReadCloser, name string, limit int64) ([]byte, error) {
	defer file.Close()
	content, err := registry.ReadLimited(file, limit)
	if errors.Is(err, registry.ErrLimit) {
		err = &registry.Error{Kind: registry.ErrLimit, Message: fmt.Sprintf("%s is larger than the %d bytes that are read", name, limit), Hint: registry.DefaultHint(registry.ErrLimit)}
	}
	return content, err
}

const hint = "An image layout is a folder with the files oci-layout and index.json and the folder blobs, or the uncompressed tar archive of one, " +
	"as `docker buildx build --output type=oci,dest=image.tar` and `skopeo copy … oci:PATH` write it."

// hintDestination is the advice if a layout cannot be written at a path.
const hintDestination = "A destination is a folder with an image layout, an empty folder, or one that does not exist yet. Use another folder."

// hintDamaged is the advice if content of the layout does not match its digest or size.
const hintDamaged = "The layout is damaged: build or copy it again."

// invalidError returns the error of a path that is not a valid layout.
func (l *Layout) invalidError(why string) error {
	return l.fillError(&registry.Error{Kind: registry.ErrInvalidLayout, Message: why, Hint: hint})
}
