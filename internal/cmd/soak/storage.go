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

// memory is distribution's storage in memory, made fit for many large uploads at
// a time.
type memory struct{ *inmemory.Driver }

// Writer buffers what is written: the driver copies all that it has with each
// write.
func (m memory) Writer(ctx context.Context, path string, appends bool) (driver.FileWriter, error) {
	file, err := m.Driver.Writer(ctx, path, appends)
	if err != nil {
		return nil, err
	}
	return &bufferedFile{file, bufio.NewWriterSize(file, 1<<20), m, path}, nil
}

// Reader reads an upload at once, under the driver's lock: a request of it that
// was cut off may still write to it.
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

// Cancel removes the upload from where it was. The driver removes it from where it
// is by now: an upload that is given up while it is completed would take the blob
// with it that it has become.
func (f *bufferedFile) Cancel(ctx context.Context) error {
	f.buffer.Reset(io.Discard)
	return f.memory.Delete(ctx, f.path)
}

// Close flushes, unless the file was committed or cancelled: then nothing is
// left in the buffer, or nobody wants it.
func (f *bufferedFile) Close() error {
	_ = f.buffer.Flush()
	return f.FileWriter.Close()
}

// driverName is what a registry's configuration calls storage that is handed to
// it.
const driverName = "soak"

func init() { factory.Register(driverName, handed{}) }

type handed struct{}

func (handed) Create(_ context.Context, parameters map[string]any) (driver.StorageDriver, error) {
	return parameters["storage"].(memory), nil
}
