package layout

import (
	"io/fs"
	"os"
	"syscall"
)

// folder is a layout in a folder, by its path.
type folder string

// open opens a file through the folder's root, so that no link leads out of it.
func (f folder) open(name string) (openFile, error) {
	root, err := os.OpenRoot(string(f))
	if err != nil {
		return openFile{}, err
	}
	defer root.Close()
	file, info, err := regular(name, root.OpenFile)
	if err != nil {
		return openFile{}, err
	}
	return openFile{ReadCloser: file, size: info.Size(), stored: info}, nil
}

// regular opens a regular file and returns its information. It returns an error
// for any other kind of file: to open a pipe would wait for a writer, and a check
// before opening would leave time to replace the file.
func regular(name string, open func(name string, flag int, perm fs.FileMode) (*os.File, error)) (*os.File, fs.FileInfo, error) {
	file, err := open(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	if err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	return file, info, nil
}
