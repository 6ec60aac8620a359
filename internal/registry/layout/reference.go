package layout

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Scheme is what a reference to an image layout begins with.
const Scheme = "oci:"

// Reference names a manifest in an image layout.
type Reference struct {
	// Path is where the layout is, as it was written.
	Path string
	// Tag may be empty: then Digest decides, or the layout holds but one.
	Tag string
	// Digest may be empty.
	Digest digest.Digest
}

// Is says whether s is meant as a reference to an image layout.
func Is(s string) bool { return strings.HasPrefix(s, Scheme) }

// ParseReference reads "oci:PATH", "oci:PATH:tag" and "oci:PATH@digest". What
// follows the last colon is a tag where no separator of folders follows it. The
// error matches registry.ErrInvalidReference.
func ParseReference(s string) (Reference, error) {
	rest, found := strings.CutPrefix(s, Scheme)
	invalid := func(why string) (Reference, error) {
		return Reference{}, &registry.Error{Op: "use the reference", Reference: registry.Clean(s), Kind: registry.ErrInvalidReference, Message: why,
			Hint: "An image layout is named by oci:PATH, oci:PATH:tag or oci:PATH@sha256:…, as in oci:./image:1.4."}
	}
	if !found {
		return invalid("it does not begin with " + Scheme)
	}
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return invalid("it holds a control character")
	}
	ref := Reference{Path: rest}
	if before, after, ok := cutLast(rest, "@"); ok && strings.Contains(after, ":") {
		ref.Path, ref.Digest = before, digest.Digest(after)
		if err := registry.ValidateDigest(ref.Digest); err != nil {
			return invalid(fmt.Sprintf("%q is no digest", registry.Clean(after)))
		}
	}
	if before, after, ok := cutLast(ref.Path, ":"); ok && !strings.ContainsAny(after, `/\`) {
		if ref.Path, ref.Tag = before, after; ref.Tag == "" {
			return invalid("nothing follows its last colon, where a tag would be")
		}
	}
	if ref.Path == "" {
		return invalid("it names no path")
	}
	return ref, nil
}

// Target is what is looked up in the layout: the digest where there is one, or
// the tag, or "" for the only manifest.
func (r Reference) Target() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}

// String is the reference as ParseReference reads it.
func (r Reference) String() string {
	s := Scheme + r.Path
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// cutLast is strings.Cut at the last separator.
func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}
