// Package imageref parses the references of sources and destinations: in a registry
// ("ghcr.io/acme/app:1.4"), or in an OCI image layout on disk
// ("oci:./build/app:1.4").
package imageref

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// Ref names a manifest in a registry or, if layout has a path, in an image layout.
// The path of a layout is kept as written, so that a stored Ref is also valid in
// another working directory.
type Ref struct {
	reference registry.Reference
	layout    layout.Reference
}

// ParseSource parses the reference of a source. Without a tag and a digest, it
// means the tag latest in a registry, and the only image in a layout. The error
// matches registry.ErrInvalidReference, and its Message has the reason.
func ParseSource(s string) (r Ref, err error) {
	if layout.Is(s) {
		r.layout, err = layout.ParseReference(s)
		return r, err
	}
	r.reference, err = registry.ParseReference(s)
	r.reference = r.reference.WithDefaultTag()
	return r, err
}

// ParseDestination parses the reference of a destination. It must have a tag and no
// digest, in a layout too. The error is like that of ParseSource.
func ParseDestination(s string) (r Ref, err error) {
	if !layout.Is(s) {
		r.reference, err = registry.ParseDestination(s)
		return r, err
	}
	if r.layout, err = layout.ParseReference(s); err != nil {
		return Ref{}, err
	}
	why := ""
	switch {
	case archivePath.MatchString(r.layout.Path):
		return Ref{}, &registry.Error{Op: "use the destination", Reference: registry.Sanitize(s), Kind: registry.ErrInvalidReference,
			Message: "it is an archive by its name, which can be read but not written to", Hint: "Write a folder, and make the archive of it: tar -cf image.tar -C FOLDER ."}
	case r.layout.Digest != "":
		why = "it has a digest, and which one goes there is the source's to say"
	case r.layout.Tag == "":
		why = "it has no tag"
	case !registry.IsTag(r.layout.Tag):
		why = fmt.Sprintf("%q cannot be a tag, which has letters, digits, underscores, dots and dashes, and begins with neither a dot nor a dash", registry.Sanitize(r.layout.Tag))
	default:
		return r, nil
	}
	return Ref{}, &registry.Error{Op: "use the destination", Reference: registry.Sanitize(s), Kind: registry.ErrInvalidReference, Message: why,
		Hint: "A destination in an image layout is oci:PATH:tag, as in oci:./airgap/app:1.4."}
}

// archivePath matches the path of an archive. A folder with such a name would be
// read as an archive.
var archivePath = regexp.MustCompile(`(?i)\.(tar|tar\.[a-z0-9]+|tgz)$`)

// Reference returns the reference in a registry. ok reports whether r is one.
func (r Ref) Reference() (ref registry.Reference, ok bool) {
	return r.reference, r.layout.Path == ""
}

// Canonical returns r with the client's canonical spelling of the host, which
// depends on the settings of the host. A layout is returned unchanged, because its
// Name is the path of the real folder.
func (r Ref) Canonical(client *remote.Client) Ref {
	if r.layout.Path == "" {
		r.reference.Host = client.CanonicalHost(r.reference.Host)
	}
	return r
}

// Name returns the name of the repository. For a layout it is the path of the real
// folder. If r is canonical, the name equals that of the repository that r opens.
func (r Ref) Name() string {
	if r.layout.Path != "" {
		return r.layout.Name()
	}
	return r.reference.Name()
}

// IsSameFolder reports whether both references are in image layouts that are one folder, even if
// their names differ: a file system may ignore case, or be mounted at two paths. It returns false if
// a folder does not exist.
func (r Ref) IsSameFolder(other Ref) bool {
	if r.layout.Path == "" || other.layout.Path == "" {
		return false
	}
	a, errA := os.Stat(strings.TrimPrefix(r.Name(), layout.Scheme))
	b, errB := os.Stat(strings.TrimPrefix(other.Name(), layout.Scheme))
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// Equal reports whether two references are equal, however they are written. It does
// not know whether a port is the default one, so compare canonical references if a
// client is available.
func (r Ref) Equal(other Ref) bool {
	return r.Tag() == other.Tag() && r.Digest() == other.Digest() && r.Name() == other.Name()
}

// String returns the reference in normal form, except that the path of a layout is
// as written. The result can be parsed again.
func (r Ref) String() string {
	if r.layout.Path != "" {
		return r.layout.String()
	}
	return r.reference.String()
}

// Identifier returns the digest, or the tag if there is no digest, or "" for the
// only image of a layout.
func (r Ref) Identifier() string {
	if r.layout.Path != "" {
		return r.layout.Target()
	}
	return r.reference.Target()
}

// Tag returns the tag, or "" if there is none.
func (r Ref) Tag() string {
	if r.layout.Path != "" {
		return r.layout.Tag
	}
	return r.reference.Tag
}

// Digest returns the digest, or "" if there is none.
func (r Ref) Digest() digest.Digest {
	if r.layout.Path != "" {
		return r.layout.Digest
	}
	return r.reference.Digest
}

// WithTag returns r with another tag.
func (r Ref) WithTag(tag string) Ref {
	r.reference.Tag, r.layout.Tag = tag, tag
	return r
}

// WithDigest returns r with another digest.
func (r Ref) WithDigest(d digest.Digest) Ref {
	r.reference.Digest, r.layout.Digest = d, d
	return r
}

// Pinned returns host/repository@digest or oci:PATH@digest, which identifies
// exactly one image.
func (r Ref) Pinned(d digest.Digest) string {
	if r.layout.Path != "" {
		return r.layout.Pinned(d)
	}
	return r.reference.Pinned(d)
}

// OpenSource returns the repository to read from. If a layout cannot be opened, the
// error describes what was found instead; see layout.Open.
func (r Ref) OpenSource(client *remote.Client) (registry.Repository, error) {
	if r.layout.Path == "" {
		return client.Repository(r.reference, remote.Pull), nil
	}
	l, err := layout.Open(r.layout.Path)
	if err != nil {
		return nil, err
	}
	return l.WithLogger(client.Logger()), nil
}

// OpenDestination returns the repository to read from and write to; see
// layout.Create.
func (r Ref) OpenDestination(client *remote.Client) (registry.Repository, error) {
	if r.layout.Path == "" {
		return client.Repository(r.reference, remote.Push), nil
	}
	l, err := layout.Create(r.layout.Path)
	if err != nil {
		return nil, err
	}
	return l.WithLogger(client.Logger()), nil
}
