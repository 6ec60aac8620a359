package provider

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
)

// sameFolder is the folder of an image layout whose path has no symbolic links.
const sameFolder = "."

// folderOf returns the folder that the path of an image layout leads to through symbolic links,
// sameFolder if it has none, and "" for a destination in a registry. The result is the same in
// another checkout of the configuration: links before the start of a relative path do not
// count, and a folder below that start is relative to it.
func folderOf(destination imageref.Ref) string {
	if _, inRegistry := destination.Reference(); inRegistry {
		return ""
	}
	ref, err := layout.ParseReference(destination.String())
	if err != nil {
		return ""
	}
	written, start := filepath.FromSlash(ref.Path), ""
	if rest, below := strings.CutPrefix(written, "~"); below && (rest == "" || os.IsPathSeparator(rest[0])) {
		written = strings.TrimLeft(rest, string(filepath.Separator))
		start, err = os.UserHomeDir()
	} else if !filepath.IsAbs(written) {
		start, err = os.Getwd()
	}
	if resolved, linkErr := filepath.EvalSymlinks(start); start != "" && err == nil && linkErr == nil {
		start = resolved
	}
	folder := filepath.FromSlash(strings.TrimPrefix(destination.Name(), layout.Scheme))
	if filepath.Join(start, written) == folder {
		return sameFolder
	}
	if below, err := filepath.Rel(start, folder); err == nil && start != "" && filepath.IsLocal(below) {
		folder = below
	}
	return filepath.ToSlash(folder)
}

// inFolder returns the private state for the folder that destination leads to now. If it led to
// another folder before, because a symbolic link was changed, the record says nothing about the
// tags that are there now, so they all count as found. States of earlier versions have no
// folder, and are trusted.
func (rec privateState) inFolder(destination imageref.Ref, diags *diag.Diagnostics) privateState {
	before, written := rec.Folder, rec.Written
	rec.Folder = folderOf(destination)
	if before == "" || before == rec.Folder {
		return rec
	}
	rec.Observed, rec.Missing, rec.ReferrerTags = nil, nil, nil // those of the other folder
	rec = rec.withMaps()
	clear(rec.Written)
	maps.Copy(rec.Found, written)
	if len(written) == 0 {
		return rec
	}
	diags.AddAttributeWarning(path.Root("destination"), "Image Layout Is Another Folder",
		fmt.Sprintf("The path of %s led to another folder when this resource wrote these tags: %s. A symbolic link was changed since. The resource did not write what is there now, "+
			"so these tags count as not written, and on_destroy does not apply to them.", destination, joinNames(slices.Sorted(maps.Keys(written)))))
	return rec
}
