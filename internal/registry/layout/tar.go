package layout

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// maxTarEntries is the maximum number of entries of an archive. Each entry uses memory.
const maxTarEntries = 100_000

var errNotRegular = errors.New("it is no regular file")

// archive is a layout in a tar archive, with the location of each file.
type archive struct {
	path  string
	files map[string]extent
}

type extent struct{ offset, size int64 }

// openTar indexes the files of an archive. It does not read their content.
func openTar(name string) (*archive, error) {
	file, _, err := openRegular(name, os.OpenFile)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return indexTar(name, file)
}

func indexTar(name string, file io.ReadSeeker) (*archive, error) {
	a := &archive{path: name, files: map[string]extent{}}
	r := tar.NewReader(file)
	for entries := 0; ; entries++ {
		header, err := r.Next()
		switch {
		case err == io.EOF:
			return a, nil
		case err != nil:
			return nil, notTarError(file, err)
		case entries == maxTarEntries:
			return nil, &registry.Error{Kind: registry.ErrLimit, Message: fmt.Sprintf("the archive has more than %d entries", maxTarEntries)}
		}
		if !fs.ValidPath(path.Clean(header.Name)) {
			return nil, &registry.Error{Kind: registry.ErrInvalidLayout, Hint: hint,
				Message: fmt.Sprintf("the archive has an entry %q, which leads out of it", registry.Sanitize(header.Name))}
		}
		name := path.Clean(header.Name)
		if header.Typeflag != tar.TypeReg || !isFile(name) {
			continue // skip folders and links: a layout needs no links
		}
		// The tar reader reads only headers and seeks over the content.
		offset, err := file.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		a.files[name] = extent{offset, header.Size}
	}
}

// maxName is longer than the name of any blob.
const maxName = 256

// isFile reports whether a file of that name can belong to a layout. Other files are not
// indexed, because their names could use any amount of memory.
func isFile(name string) bool {
	return name == ocispec.ImageLayoutFile || name == ocispec.ImageIndexFile || strings.HasPrefix(name, ocispec.ImageBlobsDir+"/") && len(name) <= maxName
}

// notTarError returns the error of a file that is not a tar archive.
func notTarError(file io.ReadSeeker, err error) error {
	why := "it is neither a folder nor a tar archive"
	magic := make([]byte, 4)
	if _, seekErr := file.Seek(0, io.SeekStart); seekErr == nil {
		_, _ = io.ReadFull(file, magic)
	}
	if bytes.HasPrefix(magic, []byte{0x1f, 0x8b}) || bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		why = "it is compressed, and has to be unpacked first (gunzip or unzstd)"
	}
	return &registry.Error{Kind: registry.ErrInvalidLayout, Message: why, Err: err, Hint: hint}
}

// open opens a file within the archive.
func (a *archive) open(name string) (openFile, error) {
	where, ok := a.files[name]
	if !ok {
		return openFile{}, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	file, info, err := openRegular(a.path, os.OpenFile)
	if err != nil {
		return openFile{}, err
	}
	content := struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(file, where.offset, where.size), file}
	return openFile{ReadCloser: content, size: where.size, stored: info}, nil
}
