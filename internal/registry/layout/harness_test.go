package layout_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// recorder records log lines and calls then after each line.
type recorder struct {
	then func()

	mu     sync.Mutex
	buffer bytes.Buffer
}

func (r *recorder) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.then != nil {
		defer r.then()
	}
	return r.buffer.Write(p)
}

func (r *recorder) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buffer.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSpace(r.buffer.String()), "\n")
}

// open opens a layout for reading.
func open(t *testing.T, path string) *layout.Layout {
	t.Helper()
	l, err := layout.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// create opens a layout for writing.
func create(t *testing.T, path string) *layout.Layout {
	t.Helper()
	l, err := layout.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// repository returns a repository of a registry.
func repository(t *testing.T, ref string) registry.Repository {
	t.Helper()
	none := ""
	client, err := remote.New(remote.Options{Credentials: auth.Options{DockerConfigPath: &none}})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := registry.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	return client.Repository(parsed, remote.Push)
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// promote runs a copy that must succeed.
func promote(t *testing.T, job copier.Job) copier.Report {
	t.Helper()
	report, err := copier.New(discard()).Copy(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// kinds returns one content of each kind that a layout may have.
func kinds() map[string]registrytest.Content {
	return map[string]registrytest.Content{
		"image":          registrytest.Image{Seed: "a"},
		"index":          registrytest.MultiArch("b"),
		"nested_indexes": registrytest.Nested("c"),
		"docker_list":    registrytest.DockerList("d"),
		"artifact":       registrytest.Artifact{Seed: "e"},
	}
}

// assertError checks that err is a *registry.Error whose text contains each of texts.
func assertError(t *testing.T, err error, texts ...string) {
	t.Helper()
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		t.Fatalf("error = %v, want a *registry.Error", err)
	}
	for _, text := range texts {
		if !strings.Contains(e.Error(), text) {
			t.Errorf("error = %q, want it to contain %q", e, text)
		}
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

// snapshot returns the digest of every file in a folder, keyed by its name.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		files[strings.TrimPrefix(name, dir)] = fmt.Sprintf("%x", sha256.Sum256(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// writeIndex replaces the index of a layout with one that has the given entries.
func writeIndex(t *testing.T, dir string, entries ...string) {
	t.Helper()
	registrytest.WriteFile(t, dir, ocispec.ImageIndexFile, []byte(`{"schemaVersion":2,"manifests":[`+strings.Join(entries, ",")+`]}`))
}

// readIndex returns the content of the index of a layout.
func readIndex(t *testing.T, dir string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// entry returns an index entry for m, with annotations given as JSON.
func entry(m registrytest.Manifest, annotations string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{%s}}`, m.MediaType, m.Digest, len(m.Bytes), annotations)
}

// refName returns the annotation that gives an index entry a tag.
func refName(tag string) string { return fmt.Sprintf(`%q:%q`, ocispec.AnnotationRefName, tag) }

// manifestOf returns content as a registry.Manifest.
func manifestOf(t *testing.T, content registrytest.Content) registry.Manifest {
	t.Helper()
	built := content.Build()
	m, err := registry.NewManifest(built.MediaType, built.Bytes, "")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// annotated returns n JSON annotations.
func annotated(n int) string {
	var annotations []string
	for i := range n {
		annotations = append(annotations, fmt.Sprintf(`"%d":""`, i))
	}
	return strings.Join(annotations, ",")
}

// wantEntries checks that the index of a layout has exactly the given JSON entries.
func wantEntries(t *testing.T, dir string, want ...string) {
	t.Helper()
	var index struct{ Manifests []any }
	var entries []any
	if err := errors.Join(json.Unmarshal([]byte(readIndex(t, dir)), &index), json.Unmarshal([]byte("["+strings.Join(want, ",")+"]"), &entries)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(index.Manifests, entries) {
		t.Errorf("entries are %v, want %v", index.Manifests, entries)
	}
}

// failsAt returns a function for Intercept that makes one operation on one file fail.
func failsAt(op, name string, err error) func(string, string) error {
	return func(gotOp, gotName string) error {
		if gotOp == op && gotName == name {
			return err
		}
		return nil
	}
}

// wantNoTemporary checks that a folder has no temporary files.
func wantNoTemporary(t *testing.T, dir string) {
	t.Helper()
	for name := range snapshot(t, dir) {
		if strings.HasPrefix(filepath.Base(name), ".new-") {
			t.Errorf("%s was not removed", name)
		}
	}
}

// damage changes one byte of a file in place. It keeps the size and the inode.
func damage(t *testing.T, dir string, d digest.Digest) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(dir, registrytest.BlobFile(d)), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var first [1]byte
	if _, err := file.ReadAt(first[:], 0); err != nil {
		t.Fatal(err)
	}
	first[0] ^= 1
	if _, err := file.WriteAt(first[:], 0); err != nil {
		t.Fatal(err)
	}
}

// age sets the modification time of a file.
func age(t *testing.T, dir string, d digest.Digest, modified time.Time) {
	t.Helper()
	if err := os.Chtimes(filepath.Join(dir, registrytest.BlobFile(d)), modified, modified); err != nil {
		t.Fatal(err)
	}
}

// blobOf returns content for PutBlob and counts in opened how often it is opened.
func blobOf(content []byte, opened *int) registry.Content {
	return registry.Content{Open: func(context.Context) (io.ReadCloser, error) {
		*opened++
		return io.NopCloser(bytes.NewReader(content)), nil
	}}
}
