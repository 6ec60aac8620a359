//go:build unix

package layout_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// Opening a pipe would wait for a writer.
func TestGetBlob_NamedPipe(t *testing.T) {
	dir := registrytest.Layout(t, nil)
	d := digest.FromString("content")
	path := filepath.Join(dir, registrytest.BlobFile(d))
	registrytest.WriteFile(t, filepath.Dir(path), "beside", nil)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, dir).GetBlob(t.Context(), registry.Descriptor{Digest: d, Size: 7})
	assertError(t, err, "it is no regular file")
}

// The file of an archive may be replaced after the archive was opened.
func TestGetManifest_NamedPipeReplacesArchive(t *testing.T) {
	file := registrytest.Tar(t, registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}}))
	l := open(t, file)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := l.GetManifest(t.Context(), "1")
	assertError(t, err, "it is no regular file")
	_, err = layout.Open(file)
	assertError(t, err, "it is neither a folder nor a file")
}
