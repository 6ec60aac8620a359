package layout

import (
	"io"
	"io/fs"
	"os"
	"syscall"
)

// folder is a layout in a folder, by its path.
type folder string

// open opens a file through the folder's root, so that no link leads out of it.
func (f folder) open(name string) (io.ReadCloser, int64, error) {
	root, err := os.OpenRoot(string(f))
	if err != nil {
		return nil, 0, err
	}
	defer root.Close()
	return regular(name, root.OpenFile)
}

// regular opens a file that is a regular one, and gives its size. To open a pipe
// would wait for somebody to write to it, and to ask before what it is would leave
// the time for another to take its place.
func regular(name string, open func(name string, flag int, perm fs.FileMode) (*os.File, error)) (*os.File, int64, error) {
	file, err := open(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	if err != nil {
		_ = file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}
