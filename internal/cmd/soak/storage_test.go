package main

import (
	"errors"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

func TestMemory_CancelDuringCompletion(t *testing.T) {
	const upload, blob = "/repository/_uploads/1/data", "/blobs/1/data"
	storage := memory{inmemory.New()}
	completes, err := storage.Writer(t.Context(), upload, false)
	if err != nil {
		t.Fatal(err)
	}
	_, writeErr := completes.Write([]byte("content"))
	cancels, err := storage.Writer(t.Context(), upload, true)
	if err = errors.Join(writeErr, err, completes.Commit(t.Context()), completes.Close(), storage.Move(t.Context(), upload, blob)); err != nil {
		t.Fatal(err)
	}
	_ = cancels.Cancel(t.Context()) // the upload was moved
	_ = cancels.Close()
	if content, err := storage.GetContent(t.Context(), blob); err != nil || string(content) != "content" {
		t.Errorf("blob = %q, %v, want the content", content, err)
	}
}
