package registry

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// DockerHub is the host of Docker Hub references, whatever alias they were written
// with. Only references use this name; the API has another host.
const DockerHub = "docker.io"

// DefaultTag is the tag of a reference without tag and digest.
const DefaultTag = "latest"

// Reference names a manifest in a repository of a registry, in normal form: the
// host as returned by NormalHost, official Docker Hub images under library/. A
// reference with an empty Tag and an empty Digest names the repository itself.
type Reference struct {
	// Host is host[:port] as returned by NormalHost. Whether the port is the
	// default one depends on the scheme; see remote.Client.CanonicalHost.
	Host string
	// Repository is the path within the host, without a leading slash.
	Repository string
	// Tag may be empty.
	Tag string
	// Digest may be empty. If both are set, the digest is used.
	Digest digest.Digest
}

// maxReference is the length limit of a reference. The longest possible host,
// repository, tag and digest fit into it.
const maxReference = 1024

// ParseReference parses a reference ("alpine:3", "ghcr.io/acme/app@sha256:…"). It
// does not add a default tag; see WithDefaultTag. The grammar is the one of
// github.com/distribution/reference, with the hosts that NormalHost accepts. A host
// and port without a repository is an error, although the grammar reads the port as
// a tag. The error matches ErrInvalidReference, and its Message has the reason.
func ParseReference(s string) (Reference, error) {
	if len(s) > maxReference {
		return Reference{}, invalidReference(s, fmt.Sprintf("it is longer than %d characters", maxReference))
	}
	if why := transportFault(s); why != "" {
		return Reference{}, invalidReference(s, why)
	}
	named, err := reference.ParseNormalizedNamed(normalHost(s))
	if err != nil {
		return Reference{}, invalidReference(s, referenceFault(s))
	}
	ref := Reference{Host: reference.Domain(named), Repository: reference.Path(named)}
	if ref.Host == "" {
		// In "my_host.example/app" the underscore is not valid in a host, so the
		// grammar reads all of it as a repository without a host.
		return Reference{}, invalidReference(s, referenceFault(s))
	}
	if why := hostFault(ref.Host); why != "" {
		return Reference{}, invalidReference(s, why)
	}
	if why := hostOnlyFault(s); why != "" {
		return Reference{}, invalidReference(s, why)
	}
	if tagged, ok := named.(reference.Tagged); ok {
		ref.Tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		ref.Digest = digested.Digest()
	}
	return ref, nil
}

// normalHost replaces the first path component by its normal form if it is a host.
// The grammar keeps the spelling, but "GHCR.IO" must find the credentials and
// limits of "ghcr.io".
func normalHost(s string) string {
	host, rest, found := strings.Cut(s, "/")
	if !found || !isHost(host) {
		return s
	}
	normal, err := NormalHost(host)
	if err != nil {
		normal = lowerASCII(host) // the grammar or hostFault returns the error
	}
	return normal + "/" + rest
}

// HasHost reports whether a reference begins with a host. Without one it means
// Docker Hub.
func HasHost(s string) bool {
	first, _, found := strings.Cut(s, "/")
	return found && isHost(first)
}

// isHost reports whether the first component of a path is a host. Otherwise it is a
// part of a repository on Docker Hub.
func isHost(component string) bool {
	return strings.ContainsAny(component, ".:") || lowerASCII(component) == "localhost"
}

// lowerASCII returns s with ASCII letters in lower case. It does not change other
// letters: the lower case of the Kelvin sign is k, and a host that looks like
// another one must not become that host.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, s)
}

// WithDefaultTag returns the reference with the tag "latest" if it has neither tag
// nor digest.
func (r Reference) WithDefaultTag() Reference {
	if r.Tag == "" && r.Digest == "" {
		r.Tag = DefaultTag
	}
	return r
}

// Name returns host/repository, the name of the repository in normal form.
func (r Reference) Name() string { return r.Host + "/" + r.Repository }

// Target returns the identifier for requests to the registry: the digest, or else the tag.
func (r Reference) Target() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}

// String returns the reference in normal form. ParseReference of the result returns
// r.
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

// Pinned returns host/repository@digest, which identifies exactly one image.
func (r Reference) Pinned(d digest.Digest) string { return r.Name() + "@" + d.String() }
