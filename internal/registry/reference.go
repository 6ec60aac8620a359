package registry

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// DockerHub is the name under which references mean Docker Hub, whatever alias
// they were written with. It is a name for people; its API answers elsewhere.
const DockerHub = "docker.io"

// DefaultTag is what a reference without tag and digest means.
const DefaultTag = "latest"

// Reference names a manifest in a repository of a registry, in normal form:
// the host in the form of NormalHost, official Docker Hub images under library/.
// A zero Tag and a zero Digest mean the repository alone.
type Reference struct {
	// Host is host[:port] in the form of NormalHost. Whether it has the default
	// port depends on the scheme; see remote.Client.CanonicalHost.
	Host string
	// Repository is the path within the host, without a leading slash.
	Repository string
	// Tag may be empty.
	Tag string
	// Digest may be empty. Where both are given the digest decides.
	Digest digest.Digest
}

// maxReference is the longest reference that is read: the longest host,
// repository, tag and digest that can exist fit into it.
const maxReference = 1024

// ParseReference reads a reference as people write it ("alpine:3",
// "ghcr.io/acme/app@sha256:…"). A reference that names neither tag nor digest
// gets neither; see WithDefaultTag. The error matches ErrInvalidReference, and
// its Message says what is wrong with s. The grammar is the one of
// github.com/distribution/reference, with the hosts that NormalHost accepts. A
// host and port alone are refused, although the grammar makes a tag of the port.
func ParseReference(s string) (Reference, error) {
	if len(s) > maxReference {
		return Reference{}, invalidReference(s, fmt.Sprintf("it is longer than %d characters", maxReference))
	}
	if why := transport(s); why != "" {
		return Reference{}, invalidReference(s, why)
	}
	named, err := reference.ParseNormalizedNamed(normalHost(s))
	if err != nil {
		return Reference{}, invalidReference(s, referenceFault(s))
	}
	ref := Reference{Host: reference.Domain(named), Repository: reference.Path(named)}
	if ref.Host == "" {
		// "my_host.example/app": no host for its underscore, and the grammar
		// makes all of it a repository of nowhere.
		return Reference{}, invalidReference(s, referenceFault(s))
	}
	if why := hostFault(ref.Host); why != "" {
		return Reference{}, invalidReference(s, why)
	}
	if why := hostAlone(s); why != "" {
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

// normalHost replaces the first path component by its normal form if it is a
// host, because the grammar keeps the spelling that it is given, and "GHCR.IO"
// must find the credentials and limits of "ghcr.io".
func normalHost(s string) string {
	host, rest, found := strings.Cut(s, "/")
	if !found || !isHost(host) {
		return s
	}
	normal, err := NormalHost(host)
	if err != nil {
		normal = lowerASCII(host) // the grammar refuses it, or hostFault does
	}
	return normal + "/" + rest
}

// HasHost says whether a reference begins with a host instead of leaving Docker
// Hub to be understood.
func HasHost(s string) bool {
	first, _, found := strings.Cut(s, "/")
	return found && isHost(first)
}

// isHost says whether the first component of a path is a host; everything else
// is a part of a repository on Docker Hub.
func isHost(component string) bool {
	return strings.ContainsAny(component, ".:") || lowerASCII(component) == "localhost"
}

// lowerASCII leaves other letters alone: in Unicode the Kelvin sign lowers to k,
// and a host that only looks like a known one must not become it.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, s)
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
