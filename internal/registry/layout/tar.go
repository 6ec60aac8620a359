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

// maxTarEntries is how many entries of an archive are read: each costs memory.
const maxTarEntries = 100_000

var errNotRegular = errors.New("it is no regular file")

// archive is a layout in a tar archive: where each file is in it.
type archive struct {
	path  string
	files map[string]extent
}

type extent struct{ at, size int64 }

// openTar reads the names of an archive and where their bytes are, and leaves
// the bytes where they are.
func openTar(name string) (*archive, error) {
	file, _, err := regular(name, os.OpenFile)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return index(name, file)
}

func index(name string, file io.ReadSeeker) (*archive, error) {
	a := &archive{path: name, files: map[string]extent{}}
	r := tar.NewReader(file)
	for entries := 0; ; entries++ {
		header, err := r.Next()
		switch {
		case err == io.EOF:
			return a, nil
		case err != nil:
			return nil, noTar(file, err)
		case entries == maxTarEntries:
			return nil, &registry.Error{Kind: registry.ErrLimit, Message: fmt.Sprintf("the archive has more than %d entries", maxTarEntries)}
		}
		if !fs.ValidPath(path.Clean(header.Name)) {
			return nil, &registry.Error{Kind: registry.ErrInvalidLayout, Hint: hint,
				Message: fmt.Sprintf("the archive has an entry %q, which leads out of it", registry.Sanitize(header.Name))}
		}
		name := path.Clean(header.Name)
		if header.Typeflag != tar.TypeReg || !isFile(name) {
			continue // folders, and links, which no layout needs
		}
		// The reader reads headers alone, and seeks over what they announce.
		at, err := file.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		a.files[name] = extent{at, header.Size}
	}
}

// maxName is longer than the name of any blob.
const maxName = 256

// isFile says whether a layout has files of that name. Others may have names of
// any length, and nobody asks for them.
func isFile(name string) bool {
	return name == ocispec.ImageLayoutFile || name == ocispec.ImageIndexFile || strings.HasPrefix(name, ocispec.ImageBlobsDir+"/") && len(name) <= maxName
}

// noTar says what a file is that is no archive.
func noTar(file io.ReadSeeker, err error) error {
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

// open gives what is at a file's place in the archive.
func (a *archive) open(name string) (openFile, error) {
	where, ok := a.files[name]
	if !ok {
		return openFile{}, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	file, info, err := regular(a.path, os.OpenFile)
	if err != nil {
		return openFile{}, err
	}
	content := struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(file, where.at, where.size), file}
	return openFile{ReadCloser: content, size: where.size, stored: info}, nil
}
