// Package imageref is where images are copied from and to, as people write it: in a
// registry ("ghcr.io/acme/app:1.4"), or in an OCI image layout on this machine
// ("oci:./build/app:1.4").
package imageref

import (
	"fmt"
	"regexp"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/layout"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// Ref names a manifest in a registry or, where the layout has a path, in an
// image layout. The path of a layout is kept as it was written, so that what is
// remembered of it is right in another working directory too.
type Ref struct {
	reference registry.Reference
	layout    layout.Reference
}

// ParseSource reads where something is copied from. In a registry it is the tag
// latest where neither tag nor digest is given, and in a layout the only image.
// The error matches registry.ErrInvalidReference, and its Message says what is
// wrong with s.
func ParseSource(s string) (p Ref, err error) {
	if layout.Is(s) {
		p.layout, err = layout.ParseReference(s)
		return p, err
	}
	p.reference, err = registry.ParseReference(s)
	p.reference = p.reference.WithDefaultTag()
	return p, err
}

// ParseDestination reads where something is copied to, which has a tag and no
// digest, in a layout too. The error is as that of ParseSource.
func ParseDestination(s string) (p Ref, err error) {
	if !layout.Is(s) {
		p.reference, err = registry.ParseDestination(s)
		return p, err
	}
	if p.layout, err = layout.ParseReference(s); err != nil {
		return Ref{}, err
	}
	why := ""
	switch {
	case archive.MatchString(p.layout.Path):
		return Ref{}, &registry.Error{Op: "use the destination", Reference: registry.Sanitize(s), Kind: registry.ErrInvalidReference,
			Message: "it is an archive by its name, which can be read but not written to", Hint: "Write a folder, and make the archive of it: tar -cf image.tar -C FOLDER ."}
	case p.layout.Digest != "":
		why = "it has a digest, and which one goes there is the source's to say"
	case p.layout.Tag == "":
		why = "it has no tag"
	case !registry.IsTag(p.layout.Tag):
		why = fmt.Sprintf("%q cannot be a tag, which has letters, digits, underscores, dots and dashes, and begins with neither a dot nor a dash", registry.Sanitize(p.layout.Tag))
	default:
		return p, nil
	}
	return Ref{}, &registry.Error{Op: "use the destination", Reference: registry.Sanitize(s), Kind: registry.ErrInvalidReference, Message: why,
		Hint: "A destination in an image layout is oci:PATH:tag, as in oci:./airgap/app:1.4."}
}

// archive is the name of one: a folder that is named so would be taken for it.
var archive = regexp.MustCompile(`(?i)\.(tar|tar\.[a-z0-9]+|tgz)$`)

// Reference is the reference of a place in a registry; ok says whether it is
// one.
func (p Ref) Reference() (ref registry.Reference, ok bool) {
	return p.reference, p.layout.Path == ""
}

// Canonical returns p as the client names it: with one spelling for all that mean
// one host with its settings. A layout needs none, because its Name is that of
// the real folder.
func (p Ref) Canonical(client *remote.Client) Ref {
	if p.layout.Path == "" {
		p.reference.Host = client.CanonicalHost(p.reference.Host)
	}
	return p
}

// Name returns the name of the repository. For a layout it is the path of the
// real folder. The name of a canonical place is the one that its repository has.
func (p Ref) Name() string {
	if p.layout.Path != "" {
		return p.layout.Name()
	}
	return p.reference.Name()
}

// Equal reports whether two places are one, however they are written. Whether a
// port is the default one is not known here: compare canonical places if a client
// is at hand.
func (p Ref) Equal(other Ref) bool {
	return p.Tag() == other.Tag() && p.Digest() == other.Digest() && p.Name() == other.Name()
}

// String is the place as it is read back: in normal form, but for the path of a
// layout, which is as it was written.
func (p Ref) String() string {
	if p.layout.Path != "" {
		return p.layout.String()
	}
	return p.reference.String()
}

// Identifier is what is looked up there: the digest, or the tag where there is none,
// or "" for the only image of a layout.
func (p Ref) Identifier() string {
	if p.layout.Path != "" {
		return p.layout.Target()
	}
	return p.reference.Target()
}

// Tag is the tag, "" where there is none.
func (p Ref) Tag() string {
	if p.layout.Path != "" {
		return p.layout.Tag
	}
	return p.reference.Tag
}

// Digest is the digest, "" where there is none.
func (p Ref) Digest() digest.Digest {
	if p.layout.Path != "" {
		return p.layout.Digest
	}
	return p.reference.Digest
}

// WithTag is the same place under another tag.
func (p Ref) WithTag(tag string) Ref {
	p.reference.Tag, p.layout.Tag = tag, tag
	return p
}

// WithDigest is the same place by a digest.
func (p Ref) WithDigest(d digest.Digest) Ref {
	p.reference.Digest, p.layout.Digest = d, d
	return p
}

// Pinned is host/repository@digest, or oci:PATH@digest: what names exactly one
// image there.
func (p Ref) Pinned(d digest.Digest) string {
	if p.layout.Path != "" {
		return p.layout.Pinned(d)
	}
	return p.reference.Pinned(d)
}

// OpenSource is the repository to read from. For a layout the error says what is there
// instead of one; see layout.Open.
func (p Ref) OpenSource(client *remote.Client) (registry.Repository, error) {
	if p.layout.Path == "" {
		return client.Repository(p.reference, remote.Pull), nil
	}
	l, err := layout.Open(p.layout.Path)
	if err != nil {
		return nil, err
	}
	return l.WithLogger(client.Logger()), nil
}

// OpenDestination is the repository to read from and write to; see layout.Create.
func (p Ref) OpenDestination(client *remote.Client) (registry.Repository, error) {
	if p.layout.Path == "" {
		return client.Repository(p.reference, remote.Push), nil
	}
	l, err := layout.Create(p.layout.Path)
	if err != nil {
		return nil, err
	}
	return l.WithLogger(client.Logger()), nil
}
