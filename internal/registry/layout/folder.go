package layout

import (
	"io/fs"
	"os"
	"syscall"
)

// folder is the path of a layout in a folder.
type folder string

// open opens a file through an os.Root, so that no symbolic link leads out of the folder.
func (f folder) open(name string) (openFile, error) {
	root, err := os.OpenRoot(string(f))
	if err != nil {
		return openFile{}, err
	}
	defer root.Close()
	file, info, err := openRegular(name, root.OpenFile)
	if err != nil {
		return openFile{}, err
	}
	return openFile{ReadCloser: file, size: info.Size(), stored: info}, nil
}

// openRegular opens a regular file and returns its information. It returns an error for any
// other kind of file. It opens without blocking, because opening a pipe would wait for a
// writer. Checking before opening would be a race: the file could be replaced in between.
func openRegular(name string, open func(name string, flag int, perm fs.FileMode) (*os.File, error)) (*os.File, fs.FileInfo, error) {
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
