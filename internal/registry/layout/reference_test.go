package layout_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
)

// linked returns a folder with symbolic links. It skips the test if the user may not create
// them.
func linked(t *testing.T, links map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "real", "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Skipf("cannot make a symbolic link: %v", err)
		}
	}
	return dir
}

func TestReferenceName_ResolvesSymlinks(t *testing.T) {
	t.Parallel()
	dir := linked(t, map[string]string{
		"link":      "real",
		"again":     "link",
		"dangling":  filepath.Join("new", "folder"),
		"elsewhere": filepath.Join("..", "nowhere"),
	})
	for path, want := range map[string]string{
		"real":                       "real",
		"link":                       "real",
		"again/below":                "real/below",
		"link/below/../new":          "real/new",
		"link/new/folder":            "real/new/folder",
		"dangling":                   "new/folder",
		"dangling/below":             "new/folder/below",
		"elsewhere/x":                "../nowhere/x",
		"new/folder":                 "new/folder",
		"real/below/nothing/is/here": "real/below/nothing/is/here",
	} {
		ref, err := layout.ParseReference("oci:" + filepath.Join(dir, filepath.FromSlash(path)) + ":1")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := ref.Name(), "oci:"+filepath.ToSlash(filepath.Join(dir, filepath.FromSlash(want))); got != want {
			t.Errorf("Name() of %s = %s, want %s", path, got, want)
		}
	}
}

// A loop of symbolic links cannot be resolved, and must not be followed forever.
func TestReferenceName_SymlinkLoop(t *testing.T) {
	t.Parallel()
	dir := linked(t, map[string]string{"loop": "other", "other": "loop", "deeper": filepath.Join("deeper", "deeper")})
	for _, path := range []string{"loop/x", "deeper/x"} {
		ref, err := layout.ParseReference("oci:" + filepath.Join(dir, path) + ":1")
		if err != nil || ref.Name() == "" {
			t.Errorf("Name() of %s = %q, %v", path, ref.Name(), err)
		}
		if _, err := layout.Open(ref.Path); err == nil {
			t.Errorf("Open(%s) succeeds", path)
		}
	}
}

// The name of a folder must not change when the folder is created.
func TestReferenceName_StableOnceCreated(t *testing.T) {
	t.Parallel()
	dir := linked(t, map[string]string{"link": "real", "dangling": "new"})
	for _, path := range []string{"link/a/b", "dangling/a"} {
		ref, err := layout.ParseReference("oci:" + filepath.Join(dir, filepath.FromSlash(path)) + ":1")
		if err != nil {
			t.Fatal(err)
		}
		before := ref.Name()
		if l := create(t, ref.Path); l.Name() != before || l.Host() != before {
			t.Errorf("Name() of the layout at %s = %s, want %s", path, l.Name(), before)
		}
		if err := os.MkdirAll(before[len(layout.Scheme):], 0o700); err != nil {
			t.Fatal(err)
		}
		if after := ref.Name(); after != before {
			t.Errorf("Name() of %s = %s, want %s as before the folder was created", path, after, before)
		}
		if ref.String() != "oci:"+filepath.Join(dir, filepath.FromSlash(path))+":1" {
			t.Errorf("String() = %s, want the path unresolved", ref)
		}
	}
}
