package layout

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// Scheme is the prefix of a reference to an image layout.
const Scheme = "oci:"

// Reference names a manifest in an image layout.
type Reference struct {
	// Path is the path of the layout as the user wrote it.
	Path string
	// Tag may be empty if Digest is set or if the layout has only one manifest.
	Tag string
	// Digest may be empty. It takes precedence over Tag.
	Digest digest.Digest
}

// Is reports whether s begins with Scheme, and is thus meant as a reference to an image layout.
func Is(s string) bool { return strings.HasPrefix(s, Scheme) }

// digestLike matches text that is meant to be a digest, even if it is malformed. Any other text
// after an @ is part of the path.
var digestLike = regexp.MustCompile(`(?i)^(sha|md|blake)\d[\da-z]*:[^/\\]*$`)

// ParseReference parses "oci:PATH", "oci:PATH:tag" and "oci:PATH@digest". Text after the last
// colon is a tag only if no path separator follows it. So neither the drive in
// `oci:C:\images\app` nor a colon in the name of a folder is mistaken for the start of a tag.
// The error matches registry.ErrInvalidReference, and its Message explains what is wrong with
// s.
func ParseReference(s string) (Reference, error) {
	rest, found := strings.CutPrefix(s, Scheme)
	invalid := func(why string) (Reference, error) {
		return Reference{}, &registry.Error{Op: "use the reference", Reference: registry.RedactInput(s), Kind: registry.ErrInvalidReference, Message: why,
			Hint: "An image layout is named by oci:PATH, oci:PATH:tag or oci:PATH@sha256:…, as in oci:./image:1.4."}
	}
	if !found {
		return invalid("it does not begin with " + Scheme)
	}
	if registry.HasSecret(s) {
		return invalid("it has a user name before an @, or a value behind a ? or #, which belong in a URL and not in a path")
	}
	if path := strings.TrimLeft(rest, "/"); strings.HasPrefix(rest, "//") {
		if strings.HasPrefix(rest, "///") {
			path = "/" + path
		}
		return invalid(fmt.Sprintf("what follows its colon is a path and not a URL: write %q", registry.Sanitize(Scheme+path)))
	}
	if strings.ContainsFunc(rest, unicode.IsControl) {
		return invalid("it holds a control character")
	}
	ref := Reference{Path: rest}
	if before, after, ok := cutLast(rest, "@"); ok && digestLike.MatchString(after) {
		ref.Path, ref.Digest = before, digest.Digest(after)
		if err := registry.ValidateDigest(ref.Digest); err != nil {
			return invalid(fmt.Sprintf("%q is no digest", registry.Sanitize(after)))
		}
	}
	if before, after, ok := cutLast(ref.Path, ":"); ok && !strings.ContainsAny(after, `/\`) {
		if ref.Path, ref.Tag = before, after; ref.Tag == "" {
			return invalid("nothing follows its last colon, where a tag would be")
		}
		if strings.ContainsFunc(ref.Tag, unicode.IsSpace) {
			return invalid(fmt.Sprintf("its tag %q has white space in it", registry.Sanitize(ref.Tag)))
		}
	}
	if strings.TrimSpace(ref.Path) == "" {
		return invalid("it names no path")
	}
	return ref, nil
}

// Name returns the name of the layout, without tag and digest: "oci:" followed by the path of
// the folder with symbolic links resolved. Two references with the same name refer to the same
// layout.
func (r Reference) Name() string {
	path, err := resolvePath(r.Path)
	if err != nil { // Open and Create report the error
		path = r.Path
	}
	return nameOfLayout(path)
}

func nameOfLayout(path string) string { return Scheme + filepath.ToSlash(path) }

// resolvePath returns the absolute form of path, with symbolic links resolved so that each
// folder has one path. A relative path starts at the working directory. A leading ~ is the home
// directory of the user.
func resolvePath(path string) (string, error) {
	if rest, below := strings.CutPrefix(path, "~"); below && (rest == "" || strings.ContainsAny(rest[:1], `/\`)) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		path = filepath.Join(home, rest)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return realPath(path, maxLinks), nil
}

// maxLinks is the maximum number of dangling symbolic links that are followed in one path.
// Linux has the same limit for all symbolic links of a path.
const maxLinks = 40

// realPath resolves the symbolic links of an absolute path, whose last elements may not exist
// yet. It keeps what it cannot resolve: opening the path then reports why.
func realPath(path string, links int) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	path = filepath.Join(realPath(parent, links), filepath.Base(path))
	target, err := os.Readlink(path)
	if err != nil || links == 0 {
		return path
	}
	if !filepath.IsAbs(target) { // relative link to a folder that does not exist yet
		target = filepath.Join(filepath.Dir(path), target)
	}
	return realPath(target, links-1)
}

// Target returns the reference to resolve in the layout: the digest if there is one, otherwise
// the tag, which is "" for the only manifest.
func (r Reference) Target() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}

// Pinned returns oci:PATH@digest. It keeps the tag if the end of the path would otherwise be
// parsed as a tag.
func (r Reference) Pinned(d digest.Digest) string {
	r.Digest = d
	if _, after, colon := cutLast(r.Path, ":"); !colon || strings.ContainsAny(after, `/\`) {
		r.Tag = ""
	}
	return r.String()
}

// String returns the reference in the form that ParseReference accepts.
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

// cutLast is like strings.Cut, but cuts at the last separator.
func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}
