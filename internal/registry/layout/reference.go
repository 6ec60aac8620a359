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

// Scheme is what a reference to an image layout begins with.
const Scheme = "oci:"

// Reference names a manifest in an image layout.
type Reference struct {
	// Path is where the layout is, as it was written.
	Path string
	// Tag may be empty: then Digest decides, or the layout holds but one.
	Tag string
	// Digest may be empty. Where both are given the digest decides.
	Digest digest.Digest
}

// Is says whether s is meant as a reference to an image layout.
func Is(s string) bool { return strings.HasPrefix(s, Scheme) }

// digestLike is a text that was meant to be a digest, however wrong: in a path
// an @ may stand for anything.
var digestLike = regexp.MustCompile(`(?i)^(sha|md|blake)\d[\da-z]*:[^/\\]*$`)

// ParseReference reads "oci:PATH", "oci:PATH:tag" and "oci:PATH@digest". What
// follows the last colon is a tag where no separator of folders follows it, so
// that neither the drive in `oci:C:\images\app` nor a colon in the name of a
// folder is in the way. The error matches registry.ErrInvalidReference, and its
// Message says what is wrong with s.
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

// Name returns the name of the layout, whatever the tag or digest: oci: and the
// path of the real folder. Two references with one name lead to one layout.
func (r Reference) Name() string {
	path, err := absolute(r.Path)
	if err != nil { // reported when the layout is opened
		path = r.Path
	}
	return nameOfLayout(path)
}

func nameOfLayout(path string) string { return Scheme + filepath.ToSlash(path) }

// absolute returns where a path leads to, from the working directory, or from the
// user's home directory if it begins with ~. Symbolic links are resolved, so that
// a folder has one path.
func absolute(path string) (string, error) {
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

// maxLinks is how many symbolic links to nothing are followed in one path, as
// many as Linux follows in all.
const maxLinks = 40

// realPath resolves the symbolic links of an absolute path, of which the end may
// not exist yet. What cannot be resolved stays as it is: opening it reports why.
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
	if !filepath.IsAbs(target) { // the link leads to a folder that does not exist yet
		target = filepath.Join(filepath.Dir(path), target)
	}
	return realPath(target, links-1)
}

// Target is what is looked up in the layout: the digest where there is one, or
// the tag, or "" for the only manifest.
func (r Reference) Target() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}

// Pinned is oci:PATH@digest. The tag stays where without it the end of the path
// would be read as one.
func (r Reference) Pinned(d digest.Digest) string {
	r.Digest = d
	if _, after, colon := cutLast(r.Path, ":"); !colon || strings.ContainsAny(after, `/\`) {
		r.Tag = ""
	}
	return r.String()
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
