package provider

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/opencontainers/go-digest"
)

// TestFolderOf checks that the recorded folder is the same in two checkouts, and differs if a
// symbolic link leads elsewhere.
func TestFolderOf(t *testing.T) { //nolint:paralleltest // changes the working directory
	outside := t.TempDir()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, checkout := range []string{"one", "two"} {
		dir := filepath.Join(root, checkout)
		for _, folder := range []string{"plain", "blue"} {
			if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for name, target := range map[string]string{"current": "blue", "dangling": "new", "absolute": outside} {
			if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		// The working directory is reached through a symbolic link too.
		if err := os.Symlink(dir, filepath.Join(root, checkout+"-link")); err != nil {
			t.Fatal(err)
		}
		t.Chdir(filepath.Join(root, checkout+"-link"))
		for written, want := range map[string]string{
			"oci:./plain:1":                   ".",
			"oci:plain/../plain:1":            ".",
			"oci:missing:1":                   ".",
			"oci:../" + checkout + "/plain:1": ".",
			"oci:" + dir + "/plain:1":         ".",
			"oci:./current:1":                 "blue",
			"oci:current/below:1":             "blue/below",
			"oci:./dangling:1":                "new",
			"oci:./absolute:1":                outside,
			"oci:" + dir + "/current:1":       dir + "/blue",
			"registry.example.com/app:1":      "",
		} {
			destination, problem := parseDestination(written)
			if problem != "" {
				t.Fatal(problem)
			}
			if got := folderOf(destination); got != want {
				t.Errorf("folderOf(%s) = %q, want %q", written, got, want)
			}
		}
	}
}

// TestPrivateState_InFolder checks that a record without a folder is trusted.
func TestPrivateState_InFolder(t *testing.T) {
	t.Parallel()
	destination, _ := parseDestination("oci:" + t.TempDir() + ":1")
	d := digest.FromString("one")
	for folder, written := range map[string]bool{"": true, folderOf(destination): true, "elsewhere": false} {
		rec := newPrivateState()
		rec.recordWritten(d, "1")
		rec.Folder = folder
		var diags diag.Diagnostics
		now := rec.inFolder(destination, &diags)
		if (now.Written["1"] == d) != written || (now.Found["1"] == d) == written || (len(diags) == 0) != written || now.Folder != folderOf(destination) {
			t.Errorf("inFolder() from %q = %+v with %d warnings, want the tag written: %t", folder, now, len(diags), written)
		}
	}
}
