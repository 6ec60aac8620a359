package registry

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	// The digest algorithms that a reference may name must be linked in to be
	// available; go-digest registers nothing by itself.
	_ "crypto/sha256"
	_ "crypto/sha512"
)

// DockerHub is the name under which references mean Docker Hub, whatever alias
// they were written with. It is a name for people; its API answers elsewhere.
const DockerHub = "docker.io"

// DefaultTag is what a reference without tag and digest means.
const DefaultTag = "latest"

// Reference names a manifest in a repository of a registry, in normal form:
// the host in lower case and spelled out, official Docker Hub images under
// library/. A zero Tag and a zero Digest mean the repository alone.
type Reference struct {
	// Host is host[:port], as written but for case and Docker Hub's aliases.
	Host string
	// Repository is the path within the host, without a leading slash.
	Repository string
	// Tag may be empty.
	Tag string
	// Digest may be empty. Where both are given the digest decides.
	Digest digest.Digest
}

// ParseReference reads a reference as people write it ("alpine:3",
// "ghcr.io/acme/app@sha256:…"). A reference that names neither tag nor digest
// gets neither; see WithDefaultTag. The error matches ErrInvalidReference and
// says what is wrong with s. The grammar is the one of
// github.com/distribution/reference.
func ParseReference(s string) (Reference, error) {
	if scheme, _, found := strings.Cut(s, "://"); found {
		return Reference{}, invalidReference(s, fmt.Sprintf("it starts with %q; a reference has no scheme, so write it without", scheme+"://"))
	}
	named, err := reference.ParseNormalizedNamed(lowerHost(s))
	if err != nil {
		return Reference{}, invalidReference(s, strings.TrimPrefix(err.Error(), "invalid reference format: "))
	}
	ref := Reference{Host: reference.Domain(named), Repository: reference.Path(named)}
	if tagged, ok := named.(reference.Tagged); ok {
		ref.Tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		ref.Digest = digested.Digest()
		if err := ValidateDigest(ref.Digest); err != nil {
			return Reference{}, invalidReference(s, err.Error())
		}
	}
	return ref, nil
}

// lowerHost lowers the first path component where it is a host, because host
// names have no case (RFC 4343) while the grammar keeps the one it was given,
// and "GHCR.IO" must find the credentials and limits of "ghcr.io".
func lowerHost(s string) string {
	host, rest, found := strings.Cut(s, "/")
	if !found || !strings.ContainsAny(host, ".:") && !strings.EqualFold(host, "localhost") {
		return s
	}
	return strings.ToLower(host) + "/" + rest
}

func invalidReference(s, why string) error {
	return &Error{Op: "read the reference", Reference: Clean(s), Kind: ErrInvalidReference, Message: why}
}

// ValidateDigest says whether d is well formed and of an algorithm that this
// program can compute (sha256, sha384, sha512). The error matches
// ErrInvalidReference.
func ValidateDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		why := err.Error()
		if err == digest.ErrDigestUnsupported {
			why = "its algorithm is not supported; supported are sha256, sha384 and sha512"
		}
		return &Error{Op: "read the digest", Reference: Clean(d.String()), Kind: ErrInvalidReference, Message: why}
	}
	return nil
}

// WithDefaultTag returns the reference with the tag "latest" where it names
// neither tag nor digest.
func (r Reference) WithDefaultTag() Reference {
	if r.Tag == "" && r.Digest == "" {
		r.Tag = DefaultTag
	}
	return r
}

// Name is host/repository, the name of the repository in normal form.
func (r Reference) Name() string { return r.Host + "/" + r.Repository }

// Target is what is asked of the registry: the digest, or the tag where there
// is none.
func (r Reference) Target() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}

// String is the whole reference in normal form. Parsing it gives r again.
func (r Reference) String() string {
	s := r.Name()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// Pinned is host/repository@digest, the form in which a deployment names
// exactly one image.
func (r Reference) Pinned(d digest.Digest) string { return r.Name() + "@" + d.String() }
