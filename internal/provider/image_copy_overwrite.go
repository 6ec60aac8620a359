package provider

import (
	"fmt"
	"maps"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/imageref"
)

const (
	titleTagHeld = "Tag Has Another Digest"
	renameHint   = "If the resource was renamed, use a moved block: the record of what it wrote is not passed to a new resource."
)

// overwriteGuard decides which tags a copy may move if overwrite is false. These are the tags
// that this resource wrote, unless another client has moved them since.
type overwriteGuard struct {
	destination    imageref.Ref
	written, found map[string]digest.Digest
	creating       bool
}

// overwriteGuard returns the guard for the tags at destination. The tags of referrers count as
// written by this resource too.
func (rec privateState) overwriteGuard(destination imageref.Ref, creating bool) overwriteGuard {
	written := maps.Clone(rec.Written)
	maps.Copy(written, rec.ReferrerTags)
	return overwriteGuard{destination: destination, written: written, found: rec.Found, creating: creating}
}

// checkOverwrite returns an error if the copy must not move a tag that points to current.
func (g overwriteGuard) checkOverwrite(tag string, current digest.Digest) error {
	if current == g.written[tag] {
		return nil
	}
	message := fmt.Sprintf("it holds %s, which this resource has no record of writing, and it has overwrite = false", current)
	hint := "Promote to another tag, remove this one at the registry, or set overwrite = true to move it."
	switch {
	case current == g.found[tag]:
		hint = "Set overwrite = true for one apply to move it: it then counts as written by this resource. Or remove it from `destination` or `additional_tags`."
	case g.creating:
		if tag == g.destination.Tag() {
			hint += fmt.Sprintf(" A new resource can import %s: what it holds then counts as written by this resource, which may move it.", g.destination)
		}
		hint += " " + renameHint + "\n\nIf this resource replaces an object that wrote the tag, the record of that was not passed on. Terraform does not pass it on with create_before_destroy, " +
			"for a tainted object that is planned with -refresh=false, or if the copy of the replacement failed in an earlier apply. Set overwrite = true for one apply, or import the tag."
	}
	return &registry.Error{Side: registry.Destination, Op: "replace the tag", Repository: g.destination.Name(), Reference: tag, Kind: registry.ErrTagHeld,
		Message: message, Hint: hint}
}
