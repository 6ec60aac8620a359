package layout_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestOpen_InvalidArchive(t *testing.T) {
	entry := func(name string, size int64) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644, Format: tar.FormatPAX}); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(make([]byte, size))
		return b.Bytes()
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(entry("oci-layout", 10))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content  []byte
		wantText string
	}{
		"relative_entry": {entry("../oci-layout", 1), `"../oci-layout", which leads out of it`},
		"absolute_entry": {entry("/etc/passwd", 1), "which leads out of it"},
		"compressed":     {packed.Bytes(), "it is compressed, and has to be unpacked first"},
		"not_an_archive": {bytes.Repeat([]byte("x"), 2000), "it is neither a folder nor a tar archive"},
		"truncated":      {entry("oci-layout", 5000)[:1000], "neither a folder nor a tar archive"},
		"empty":          {nil, `it holds no file "oci-layout"`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			registrytest.WriteFile(t, dir, "image.tar", c.content)
			_, err := layout.Open(filepath.Join(dir, "image.tar"))
			assertError(t, err, c.wantText)
			if !errors.Is(err, registry.ErrInvalidLayout) {
				t.Errorf("Open() = %v, want ErrInvalidLayout", err)
			}
		})
	}
}

// FuzzTar checks that an arbitrary file opened as an archive does not cause other errors than a
// *registry.Error.
func FuzzTar(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": index(digest.FromString("{}"))} {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644}); err != nil {
			f.Fatal(err)
		}
		_, _ = io.WriteString(w, content)
	}
	_ = w.Close()
	f.Add(b.Bytes())
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		registrytest.WriteFile(t, dir, "image.tar", content)
		l, err := layout.Open(filepath.Join(dir, "image.tar"))
		if err != nil {
			assertSafeError(t, err, "image.tar")
			return
		}
		if _, err := l.GetManifest(t.Context(), ""); err != nil {
			assertSafeError(t, err, "image.tar")
		}
	})
}

// An archive may contain files other than those of a layout, with names of a megabyte each.
func TestOpen_LongArchiveNames(t *testing.T) {
	file := filepath.Join(t.TempDir(), "long.tar")
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	const names, size = 40, 900_000
	for i := range names {
		name := "blobs/" + strings.Repeat("n", size) + strconv.Itoa(i)
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": `{"schemaVersion":2,"manifests":[]}`} {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), os.WriteFile(file, archive.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	archive = bytes.Buffer{}
	before := heapInUse()
	l := open(t, file)
	if kept := heapInUse() - before; kept > names*size/4 {
		t.Errorf("heap grew by %d bytes for %d names of %d bytes", kept, names, size)
	}
	if tags, err := l.ListTags(t.Context()); err != nil || tags != nil {
		t.Errorf("ListTags() = %v, %v", tags, err)
	}
}

// heapInUse returns the size of the live heap in bytes.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
