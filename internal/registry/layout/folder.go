package layout

import (
	"io"
	"io/fs"
	"os"
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
	// Asked first: to open a pipe would wait for somebody to write to it.
	info, err := root.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	return file, info.Size(), nil
}
