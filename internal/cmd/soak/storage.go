package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

// memory is the in-memory storage of distribution, extended to support many large concurrent
// uploads.
type memory struct{ *inmemory.Driver }

// Writer returns a buffered writer, because the driver copies the whole file on each write.
func (m memory) Writer(ctx context.Context, path string, appends bool) (driver.FileWriter, error) {
	file, err := m.Driver.Writer(ctx, path, appends)
	if err != nil {
		return nil, err
	}
	return &bufferedFile{file, bufio.NewWriterSize(file, 1<<20), m, path}, nil
}

// Reader reads an upload completely under the driver's lock, because an aborted request may
// still write to the upload.
func (m memory) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if !strings.Contains(path, "/_uploads/") {
		return m.Driver.Reader(ctx, path, offset)
	}
	content, err := m.GetContent(ctx, path)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(content[min(offset, int64(len(content))):])), nil
}

type bufferedFile struct {
	driver.FileWriter
	buffer *bufio.Writer
	memory memory
	path   string
}

func (f *bufferedFile) Write(p []byte) (int, error) { return f.buffer.Write(p) }

func (f *bufferedFile) Commit(ctx context.Context) error {
	if err := f.buffer.Flush(); err != nil {
		return err
	}
	return f.FileWriter.Commit(ctx)
}

// Cancel deletes the upload at its original path. The driver would delete it at its current
// path: if an upload is canceled while it is completed, that is the path of the new blob.
func (f *bufferedFile) Cancel(ctx context.Context) error {
	f.buffer.Reset(io.Discard)
	return f.memory.Delete(ctx, f.path)
}

// Close flushes the buffer. The buffer is already empty if the file was committed, and is not
// needed if it was canceled.
func (f *bufferedFile) Close() error {
	_ = f.buffer.Flush()
	return f.FileWriter.Close()
}

// driverName is the name of the storage driver in a registry's configuration. The driver uses a
// storage that already exists.
const driverName = "soak"

func init() { factory.Register(driverName, sharedStorage{}) }

type sharedStorage struct{}

func (sharedStorage) Create(_ context.Context, parameters map[string]any) (driver.StorageDriver, error) {
	return parameters["storage"].(memory), nil
}
