package registrytest

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layout writes content to a new OCI image layout, keyed by tag, and returns its folder. The
// key "" creates an entry without a name.
func Layout(t testing.TB, tagged map[string]Content) string {
	t.Helper()
	dir := t.TempDir()
	WriteLayout(t, dir, tagged)
	return dir
}

// WriteLayout writes an OCI image layout whose index has exactly the tagged content. Blobs of
// an earlier layout in the folder are kept, as when an image is built again.
func WriteLayout(t testing.TB, dir string, tagged map[string]Content) {
	t.Helper()
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
	index.SchemaVersion = 2
	for tag, content := range tagged {
		m := content.Build()
		writeAll(t, dir, m)
		d := m.Descriptor()
		if tag != "" {
			d.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
		}
		index.Manifests = append(index.Manifests, d)
	}
	for name, v := range map[string]any{ocispec.ImageLayoutFile: ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}, ocispec.ImageIndexFile: index} {
		content, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		WriteFile(t, dir, name, content)
	}
}

// LayoutTags returns the sorted tags of a layout.
func LayoutTags(t testing.TB, dir string) []string {
	t.Helper()
	var index ocispec.Index
	if err := json.Unmarshal(readFile(t, dir, ocispec.ImageIndexFile), &index); err != nil {
		t.Fatal(err)
	}
	var tags []string
	for _, d := range index.Manifests {
		tags = append(tags, d.Annotations[ocispec.AnnotationRefName])
	}
	slices.Sort(tags)
	return tags
}

// writeAll writes a manifest and all content that it refers to.
func writeAll(t testing.TB, dir string, m Manifest) {
	t.Helper()
	for _, b := range m.Blobs {
		if b.Absent {
			continue
		}
		content, err := io.ReadAll(b.Open())
		if err != nil {
			t.Fatal(err)
		}
		WriteFile(t, dir, BlobFile(b.Descriptor().Digest), content)
	}
	for _, child := range m.Manifests {
		writeAll(t, dir, child)
	}
	WriteFile(t, dir, BlobFile(m.Digest), m.Bytes)
}

// BlobFile returns the file of a blob, relative to the layout.
func BlobFile(d digest.Digest) string {
	return filepath.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// WriteFile writes a file of a layout and creates missing folders.
func WriteFile(t testing.TB, dir, name string, content []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Tar writes a layout to a tar archive and returns the file.
func Tar(t testing.TB, dir string) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "layout.tar"))
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(file)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

// ReadLayout reads all content that a tag of a layout refers to, as [Registry.Read] does in a
// registry. It verifies every digest, and fails the test if content is missing or damaged.
func ReadLayout(t testing.TB, dir, tag string) Tree {
	t.Helper()
	var index ocispec.Index
	if err := json.Unmarshal(readFile(t, dir, ocispec.ImageIndexFile), &index); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(index.Manifests, func(d ocispec.Descriptor) bool { return d.Annotations[ocispec.AnnotationRefName] == tag })
	if i < 0 {
		t.Fatalf("the layout %s has no tag %q", dir, tag)
	}
	root := index.Manifests[i]
	tree := Tree{Root: root.Digest, Manifests: map[digest.Digest]ReadManifest{}, Blobs: map[digest.Digest]ReadBlob{}}
	readLayout(t, dir, root, tree)
	return tree
}

func readLayout(t testing.TB, dir string, d ocispec.Descriptor, tree Tree) {
	t.Helper()
	content := readBlobFile(t, dir, d)
	tree.Manifests[d.Digest] = ReadManifest{MediaType: d.MediaType, Content: string(content)}
	var names manifestRefs
	if err := json.Unmarshal(content, &names); err != nil {
		t.Fatalf("read %s of the layout %s: %v", d.Digest, dir, err)
	}
	if names.Config != nil {
		names.Layers = append(names.Layers, *names.Config)
	}
	for _, blob := range append(names.Layers, names.Blobs...) {
		content := readBlobFile(t, dir, blob)
		tree.Blobs[blob.Digest] = ReadBlob{SHA256: fmt.Sprintf("%x", sha256.Sum256(content)), Size: int64(len(content))}
	}
	for _, child := range names.Manifests {
		readLayout(t, dir, child, tree)
	}
}

func readBlobFile(t testing.TB, dir string, d ocispec.Descriptor) []byte {
	t.Helper()
	content := readFile(t, dir, BlobFile(d.Digest))
	if got := d.Digest.Algorithm().FromBytes(content); got != d.Digest || int64(len(content)) != d.Size {
		t.Fatalf("%s of the layout %s has the digest %s and %d bytes", d.Digest, dir, got, len(content))
	}
	return content
}

func readFile(t testing.TB, dir, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}
