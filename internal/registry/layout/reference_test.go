package layout_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
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
