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
	"strings"
	"syscall"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	// temporaryPrefix is the prefix of the names of incomplete files.
	temporaryPrefix = ".new-"
	// abandonedAge is how long a temporary file must be unmodified to count as abandoned if
	// files cannot be locked.
	abandonedAge = 24 * time.Hour
	// temporaryAttempts is the maximum number of attempts to create a temporary file. Another
	// writer may take a file for abandoned between its creation and its lock.
	temporaryAttempts = 16
)

// writeFile writes a file under a temporary name and renames it when it is complete, so that no
// reader sees an incomplete file. It creates missing folders and the oci-layout file, and
// returns the information of the file.
func (l *Layout) writeFile(ctx context.Context, name string, write func(io.Writer) error) (fs.FileInfo, error) {
	root, err := l.root()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	l.sweep.Do(func() { l.removeAbandoned(ctx, root) })
	if _, err := root.Stat(ocispec.ImageLayoutFile); errors.Is(err, fs.ErrNotExist) {
		marker, _ := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}) // cannot fail for a struct of one string
		if _, err := l.replaceFile(root, ocispec.ImageLayoutFile, writeBytes(marker)); err != nil {
			return nil, err
		}
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return nil, err
	}
	return l.replaceFile(root, name, write)
}

// root opens the folder of the layout, and creates it if it is missing. No symbolic link leads
// out of the os.Root.
func (l *Layout) root() (*os.Root, error) {
	if err := os.MkdirAll(l.path, 0o755); err != nil { //nolint:gosec // images are not secret, and other tools read them
		return nil, err
	}
	return os.OpenRoot(l.path)
}

// replaceFile writes a file of the layout atomically.
func (l *Layout) replaceFile(root *os.Root, name string, write func(io.Writer) error) (info fs.FileInfo, err error) {
	temporary, file, err := createTemporary(root, path.Dir(name))
	if err != nil {
		return nil, fileError("create", name, err)
	}
	defer func() {
		if err != nil {
			_ = root.Remove(temporary)
		}
		file.Close() // after the rename: closing releases the lock that marks the file as in use
	}()
	if err := write(l.writer(file, name)); err != nil {
		return nil, fileError("write", name, err)
	}
	if err := l.attempt("sync", name, file.Sync); err != nil {
		return nil, fileError("sync", name, err)
	}
	if info, err = file.Stat(); err != nil {
		return nil, fileError("stat", name, err)
	}
	if err := l.attempt("rename", name, func() error { return root.Rename(temporary, name) }); err != nil {
		return nil, fileError("rename", name, err)
	}
	return info, nil
}

// createTemporary creates and locks a temporary file in a folder of the layout. The lock marks
// the file as in use by this writer. See removeAbandoned.
func createTemporary(root *os.Root, dir string) (string, *os.File, error) {
	for range temporaryAttempts {
		name := path.Join(dir, temporaryPrefix+rand.Text())
		file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return "", nil, err
		}
		if tryLock(file) != lockBusy && stillNamed(root, file, name) {
			return name, file, nil
		}
		file.Close()
		_ = root.Remove(name)
	}
	return "", nil, &registry.Error{Kind: registry.ErrUnavailable, Message: "temporary files are removed or locked by another program as soon as they are created", Hint: hintInUse}
}

// stillNamed reports whether name still refers to the open file.
func stillNamed(root *os.Root, file *os.File, name string) bool {
	opened, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := root.Lstat(name)
	return err == nil && os.SameFile(opened, named)
}

// removeAbandoned removes the temporary files of processes that ended before they completed or
// removed them. Such files would use disk space and would be shipped with the layout. Files
// that cannot be read or removed are kept.
func (l *Layout) removeAbandoned(ctx context.Context, root *os.Root) {
	for _, dir := range append(blobFolders(root), ".") {
		for _, name := range namesIn(root, dir) {
			if !strings.HasPrefix(name, temporaryPrefix) {
				continue
			}
			if name := path.Join(dir, name); removeIfAbandoned(root, name) {
				l.log.DebugContext(ctx, "removed a file that an earlier process left incomplete", "layout", l.Name(), "file", registry.Sanitize(name))
			}
		}
	}
}

// removeIfAbandoned removes a temporary file that no process writes, and reports whether it
// did. It holds the lock during the removal, so that a writer that has just created the file
// notices. See createTemporary.
func removeIfAbandoned(root *os.Root, name string) bool {
	file, err := root.OpenFile(name, os.O_RDWR|syscall.O_NONBLOCK, 0) // NFS locks only files open for writing
	if errors.Is(err, fs.ErrPermission) {
		file, err = root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	}
	if err != nil {
		return false
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	return abandoned(tryLock(file), time.Since(info.ModTime())) && root.Remove(name) == nil
}

// abandoned reports whether a temporary file has no writer. On systems without locks it guesses
// from the time of the last write. If the guess is wrong, the rename of the writer fails and
// nothing is damaged.
func abandoned(state lockState, unchanged time.Duration) bool {
	switch state {
	case lockAcquired:
		return true
	case lockBusy:
		return false
	default:
		return unchanged >= abandonedAge
	}
}

// namesIn returns the names in a folder of the layout, or none if the folder cannot be read.
func namesIn(root *os.Root, dir string) []string {
	folder, err := root.Open(dir)
	if err != nil {
		return nil
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(-1)
	return names
}

// blobFolders returns the folders of the blobs, one for each digest algorithm.
func blobFolders(root *os.Root) []string {
	var dirs []string
	for _, name := range namesIn(root, ocispec.ImageBlobsDir) {
		dir := path.Join(ocispec.ImageBlobsDir, name)
		if info, err := root.Lstat(dir); err == nil && info.IsDir() {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// syncFolders makes the renames in folders of the layout durable.
func (l *Layout) syncFolders(root *os.Root, dirs ...string) error {
	for _, dir := range dirs {
		folder, err := root.Open(dir)
		if err != nil {
			return err
		}
		err = l.attempt("sync", dir, func() error { return syncFolder(folder) })
		folder.Close()
		if err != nil {
			return fileError("sync", dir, err)
		}
	}
	return nil
}

// attempt runs do, an operation on a file of the layout, unless intercept returns an error.
func (l *Layout) attempt(op, name string, do func() error) error {
	if l.intercept != nil {
		if err := l.intercept(op, name); err != nil {
			return &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
	return do()
}

// writer returns the destination for the content of a file of the layout.
func (l *Layout) writer(file *os.File, name string) io.Writer {
	if l.intercept == nil {
		return file
	}
	return writerFunc(func(p []byte) (n int, err error) {
		err = l.attempt("write", name, func() error {
			n, err = file.Write(p)
			return err
		})
		return n, err
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// writeBytes returns a function that writes content.
func writeBytes(content []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	}
}
