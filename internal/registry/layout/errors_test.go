package layout_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestWrapError_FileSystem(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	built := image.Build()
	blob := built.Blobs[1].Descriptor().Digest
	blobFile, manifestFile := filepath.ToSlash(registrytest.BlobFile(blob)), filepath.ToSlash(registrytest.BlobFile(built.Digest))
	for name, test := range map[string]struct {
		cause syscall.Errno
		hint  string
	}{
		"disk_full":      {syscall.ENOSPC, "The disk is full"},
		"quota":          {syscall.EDQUOT, "The disk is full, or a quota"},
		"file_size":      {syscall.EFBIG, "a limit on the size of files"},
		"permission":     {syscall.EACCES, "not allowed to do that on this machine"},
		"not_owner":      {syscall.EPERM, "not allowed to do that on this machine"},
		"read_only":      {syscall.EROFS, "mounted read-only"},
		"in_use":         {syscall.EBUSY, "Another program on this machine has the file open"},
		"too_many_files": {syscall.EMFILE, "Too many files are open"},
		"input_output":   {syscall.EIO, "The file system on this machine reports this, and no registry"},
	} {
		for at, file := range map[string]string{"blob": blobFile, "manifest": manifestFile, "index": ocispec.ImageIndexFile} {
			for _, op := range []string{"write", "sync", "rename"} {
				t.Run(name+"/"+at+"/"+op, func(t *testing.T) {
					from, dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image}), registrytest.Layout(t, nil)
					index := readIndex(t, dir)
					to := create(t, dir)
					to.Intercept(failsAt(op, file, test.cause))
					_, err := copier.New(discard()).Copy(t.Context(), copier.Job{Source: open(t, from), Reference: "1", Destination: to, Tags: []string{"1"}})
					assertError(t, err, "destination oci:"+dir, "file "+filepath.Join(dir, file)+": "+test.cause.Error())
					e, ok := errors.AsType[*registry.Error](err)
					if !ok || !errors.Is(e.Kind, registry.ErrUnavailable) || !errors.Is(err, test.cause) || !strings.Contains(e.Hint, test.hint) {
						t.Errorf("Copy() = %#v, want ErrUnavailable with a hint of %q", e, test.hint)
					}
					if got := readIndex(t, dir); got != index {
						t.Errorf("index.json is %s, want %s", got, index)
					}
					wantNoTemporary(t, dir)
				})
			}
		}
	}
}

// A file in place of a folder is an error even for root, who may write to any folder.
func TestWrapError_FileInPlaceOfFolder(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	for name, test := range map[string]struct{ file, under, wantText string }{
		"blobs":     {"blobs", "", "not a directory"},
		"algorithm": {"blobs/sha256", "", "file exists"},
		"above":     {"file", "file/new", "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			from, dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image}), registrytest.Layout(t, nil)
			registrytest.WriteFile(t, dir, test.file, nil)
			l, err := layout.Create(filepath.Join(dir, test.under))
			if err == nil {
				_, err = copier.New(discard()).Copy(t.Context(), copier.Job{Source: open(t, from), Reference: "1", Destination: l, Tags: []string{"1"}})
			}
			assertError(t, err, filepath.Join(dir, test.under), test.wantText)
			if !errors.Is(err, registry.ErrUnavailable) || errors.Is(err, registry.ErrNotFound) {
				t.Errorf("Copy() = %v, want ErrUnavailable", err)
			}
		})
	}
}

// ErrNotFound would mean to the caller that the tag does not exist.
func TestDeleteTag_IndexRemovedDuringWrite(t *testing.T) {
	dir := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
	before := snapshot(t, dir)
	l := create(t, dir)
	l.Intercept(failsAt("rename", ocispec.ImageIndexFile, fs.ErrNotExist))
	err := l.DeleteTag(t.Context(), "1")
	assertError(t, err, "file index.json was removed while it was written")
	if errors.Is(err, registry.ErrNotFound) || !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("DeleteTag() = %v, want ErrUnavailable", err)
	}
	if after := snapshot(t, dir); !maps.Equal(after, before) {
		t.Errorf("files are %v, want %v", after, before)
	}
}

// After a crash, index.json must not refer to a file whose name was lost.
func TestPutManifest_SyncsNamesBeforeIndex(t *testing.T) {
	image := registrytest.Image{Seed: "a"}
	dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image})
	l := create(t, dir)
	var steps []string
	l.Intercept(func(op, name string) error {
		steps = append(steps, op+" "+filepath.ToSlash(filepath.Dir(name))+"/"+filepath.Base(name))
		return nil
	})
	if err := l.PutManifest(t.Context(), "2", manifestOf(t, image)); err != nil {
		t.Fatal(err)
	}
	manifest := "blobs/sha256/" + image.Build().Digest.Encoded()
	want := []string{
		"write " + manifest, "sync " + manifest, "rename " + manifest,
		"sync blobs/sha256", "sync ./blobs",
		"write ./index.json", "sync ./index.json", "rename ./index.json", "sync ./.",
	}
	if !slices.Equal(steps, want) {
		t.Errorf("steps are %q, want %q", steps, want)
	}
}

func TestWithLock_ReturnsCallerError(t *testing.T) {
	l := create(t, registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}}))
	want := &registry.Error{Op: "write the manifest", Reference: "1", Kind: registry.ErrUnavailable, Err: context.Canceled}
	if err := l.WithLock(t.Context(), func() error { return want }); !errors.Is(err, want) {
		t.Errorf("WithLock() = %v, want %v", err, want)
	}
	if err := os.RemoveAll(strings.TrimPrefix(l.Name(), layout.Scheme)); err != nil {
		t.Fatal(err)
	}
	err := l.WithLock(t.Context(), func() error { t.Error("f was called without the lock"); return nil })
	assertError(t, err, "cannot write the list of referrers")
}
