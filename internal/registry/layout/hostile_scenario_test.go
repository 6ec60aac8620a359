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
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

func TestOpen_InvalidLayout(t *testing.T) {
	write := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { registrytest.WriteFile(t, dir, name, []byte(content)) }
	}
	for name, c := range map[string]struct {
		damage   func(*testing.T, string)
		kind     error
		wantText string
	}{
		"missing_folder":      {func(t *testing.T, dir string) { remove(t, dir) }, registry.ErrNotFound, "no such file or directory"},
		"missing_marker":      {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "oci-layout")) }, registry.ErrInvalidLayout, `it holds no file "oci-layout"`},
		"unsupported_version": {write("oci-layout", `{"imageLayoutVersion":"2.0.0"}`), registry.ErrInvalidLayout, "does not say that it is one of version 1"},
		"invalid_marker":      {write("oci-layout", "x"), registry.ErrInvalidLayout, "does not say that it is one of version 1"},
		"marker_too_large":    {write("oci-layout", strings.Repeat(" ", 65<<10)), registry.ErrLimit, "oci-layout is larger than the 65536 bytes that are read"},
		"missing_index":       {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "index.json")) }, registry.ErrInvalidLayout, `it holds no file "index.json"`},
		"invalid_index":       {write("index.json", "[]"), registry.ErrInvalidLayout, "index.json: "},
		"index_too_large":     {write("index.json", strings.Repeat(" ", 4<<20+1)), registry.ErrLimit, "larger than the 4194304 bytes that are read"},
		"index_with_layers":   {write("index.json", `{"schemaVersion":2,"manifests":[],"layers":[]}`), registry.ErrInvalidLayout, "index.json: "},
		"digest_with_path": {write("index.json", `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:../../../etc/passwd","size":5}]}`),
			registry.ErrInvalidLayout, "its digest is refused"},
		"missing_manifest": {write("index.json", index(digest.FromString("gone"))), registry.ErrNotFound, "the layout does not hold it"},
		"digest_mismatch": {func(t *testing.T, dir string) {
			d := digest.FromString("promised")
			registrytest.WriteFile(t, dir, registrytest.BlobFile(d), []byte("else"))
			registrytest.WriteFile(t, dir, "index.json", []byte(index(d)))
		}, registry.ErrMismatch, "its bytes have the digest " + digest.FromString("else").String()},
		"manifest_too_large": {func(t *testing.T, dir string) {
			content := []byte(strings.Repeat(" ", 4<<20+1))
			registrytest.WriteFile(t, dir, registrytest.BlobFile(digest.FromBytes(content)), content)
			registrytest.WriteFile(t, dir, "index.json", []byte(index(digest.FromBytes(content))))
		}, registry.ErrLimit, "larger than the 4194304 bytes that are read"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
			c.damage(t, dir)
			l, err := layout.Open(dir)
			if err == nil {
				_, err = l.GetManifest(t.Context(), "1")
			}
			assertError(t, err, c.wantText, layout.Scheme+dir)
			if !errors.Is(err, c.kind) {
				t.Errorf("GetManifest() = %v, want %v", err, c.kind)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// index returns an index.json with one manifest, tagged "1".
func index(d digest.Digest) string {
	return `{"schemaVersion":2,"manifests":[{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":"` + d.String() +
		`","size":5,"annotations":{"org.opencontainers.image.ref.name":"1"}}]}`
}

func TestCopy_DamagedSourceBlob(t *testing.T) {
	damaged := []string{"corrupt", "truncated"}
	for name, damage := range map[string]func(t *testing.T, dir, file string){
		"corrupt": func(t *testing.T, dir, file string) {
			content, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			content[0] ^= 1
			registrytest.WriteFile(t, dir, file, content)
		},
		"truncated": func(t *testing.T, dir, file string) { registrytest.WriteFile(t, dir, file, []byte("x")) },
		"missing":   func(t *testing.T, dir, file string) { remove(t, filepath.Join(dir, file)) },
		"symlink_out_of_layout": func(t *testing.T, dir, file string) {
			outside := filepath.Join(t.TempDir(), "outside")
			if err := os.Rename(filepath.Join(dir, file), outside); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
		},
		"folder": func(t *testing.T, dir, file string) {
			remove(t, filepath.Join(dir, file))
			registrytest.WriteFile(t, dir, file+"/x", nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			layer := registrytest.Layer("layer", 100_000)
			image := registrytest.Image{Seed: "a", Layers: []registrytest.Blob{layer}}
			dir := registrytest.Layout(t, map[string]registrytest.Content{"1": image})
			damage(t, dir, registrytest.BlobFile(layer.Descriptor().Digest))
			to := registrytest.Scripted(t, registrytest.Behaviour{})
			_, err := copier.New(discard()).Copy(t.Context(), copier.Job{
				Source: open(t, dir), Reference: "1", Destination: repository(t, to.Ref("app", "1")), Tags: []string{"1"},
			})
			e, ok := errors.AsType[*registry.Error](err)
			if !ok || e.Side != registry.Source {
				t.Fatalf("Copy() = %v, want an error of the source", err)
			}
			if slices.Contains(damaged, name) && e.Hint != "The layout is damaged: build or copy it again." {
				t.Errorf("Copy() hint = %q, want the one for a damaged layout", e.Hint)
			}
			if to.HasBlob(t, "app", layer.Descriptor().Digest) || len(to.Tags(t, "app")) > 0 {
				t.Error("Copy() wrote the layer or a tag to the destination")
			}
		})
	}
}

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

func TestCreate_NotALayout(t *testing.T) {
	dir := t.TempDir()
	registrytest.WriteFile(t, dir, "precious", []byte("x"))
	_, err := layout.Create(dir)
	assertError(t, err, `it holds no file "oci-layout"`)
	_, err = layout.Create(filepath.Join(dir, "precious"))
	assertError(t, err, "it is a file, and an archive can be read but not written to")
}

// A layout from an untrusted source may contain symbolic links.
func TestCopy_SymlinkOutOfLayout(t *testing.T) {
	outside := t.TempDir()
	dir := registrytest.Layout(t, nil)
	if err := os.Symlink(outside, filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	from := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
	_, err := copier.New(discard()).Copy(t.Context(), copier.Job{Source: open(t, from), Reference: "1", Destination: create(t, dir), Tags: []string{"1"}})
	if e, ok := errors.AsType[*registry.Error](err); !ok || e.Side != registry.Destination {
		t.Errorf("Copy() = %v, want an error of the destination", err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("ReadDir() of the folder outside = %v, %v, want no entries", entries, err)
	}
}

// FuzzLayout checks that a layout with arbitrary content is either read with matching digests,
// or rejected with a *registry.Error that names the layout.
func FuzzLayout(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[]}`), []byte("{}"), "1")
	f.Add([]byte(index(digest.FromString("{}"))), []byte("{}"), "1")
	f.Add([]byte(index(digest.FromString(`{"config":{}}`))), []byte(`{"config":{}}`), "")
	f.Add([]byte(`{"manifests":[{"digest":"sha256:../../x","size":-1}]}`), []byte("x"), "sha256:../x")
	f.Fuzz(func(t *testing.T, indexJSON, blob []byte, reference string) {
		dir := t.TempDir()
		registrytest.WriteFile(t, dir, ocispec.ImageLayoutFile, []byte(`{"imageLayoutVersion":"1.0.0"}`))
		registrytest.WriteFile(t, dir, ocispec.ImageIndexFile, indexJSON)
		registrytest.WriteFile(t, dir, registrytest.BlobFile(digest.FromBytes(blob)), blob)
		l, err := layout.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		m, err := l.GetManifest(t.Context(), reference)
		if err != nil {
			assertSafeError(t, err, l.Name())
			return
		}
		if d := m.Digest.Algorithm().FromBytes(m.Content); d != m.Digest && !registry.IsSchema1(m.MediaType) {
			t.Errorf("GetManifest() digest = %s, want %s", m.Digest, d)
		}
	})
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

// assertSafeError checks that err is a *registry.Error with a short, single-line text that
// contains names.
func assertSafeError(t *testing.T, err error, names string) {
	t.Helper()
	if _, ok := errors.AsType[*registry.Error](err); !ok {
		t.Errorf("error = %v, want a *registry.Error", err)
	}
	if text := err.Error(); strings.ContainsAny(text, "\n\r\x1b") || !strings.Contains(text, names) || len(text) > 8<<10 {
		t.Errorf("error = %q, want a short line with %q", text, names)
	}
}

func TestParseReference(t *testing.T) {
	const d = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for s, want := range map[string]layout.Reference{
		"oci:image":                 {Path: "image"},
		"oci:./image:1.4":           {Path: "./image", Tag: "1.4"},
		"oci:/a/b.tar:x":            {Path: "/a/b.tar", Tag: "x"},
		"oci:image@" + d:            {Path: "image", Digest: d},
		"oci:image:1@" + d:          {Path: "image", Tag: "1", Digest: d},
		"oci:/a:b/c":                {Path: "/a:b/c"},
		`oci:C:\images\app`:         {Path: `C:\images\app`},
		`oci:C:\images\app:1`:       {Path: `C:\images\app`, Tag: "1"},
		"oci:user@example.com/app":  {Path: "user@example.com/app"},
		"oci:a folder/with space:1": {Path: "a folder/with space", Tag: "1"},
		"oci:C:/images/app@" + d:    {Path: "C:/images/app", Digest: d},
		"oci:user@host:1":           {Path: "user@host", Tag: "1"},
		"oci:a:b:1":                 {Path: "a:b", Tag: "1"},
		"oci:~/app:1":               {Path: "~/app", Tag: "1"},
		"oci:a@sha256:x/app:1":      {Path: "a@sha256:x/app", Tag: "1"},
	} {
		got, err := layout.ParseReference(s)
		if err != nil || got != want {
			t.Errorf("ParseReference(%q) = %+v, %v, want %+v", s, got, err, want)
		}
		if got.String() != s {
			t.Errorf("String() = %q, want %q", got, s)
		}
	}
	for s, why := range map[string]string{
		"image:1":         "does not begin with oci:",
		"oci:":            "names no path",
		"oci::1":          "names no path",
		"oci:image:":      "nothing follows its last colon",
		"oci:a\nb":        "control character",
		"oci:a@sha256:xy": "is no digest",
		"oci:a@md5:" + d:  "is no digest",
		"oci:app:1.4 ":    "white space",
		"oci: ":           "names no path",
		"oci:app\u0085:1": "control character",
	} {
		_, err := layout.ParseReference(s)
		if !errors.Is(err, registry.ErrInvalidReference) || !strings.Contains(err.Error(), why) {
			t.Errorf("ParseReference(%q) = %v, want %q", s, err, why)
		}
	}
}

// An archive may contain other files than those of a layout, with names of a megabyte each.
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
