package registry

import (
	"fmt"
	"mime"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Descriptor is the image specification's own type (OCI image specification,
// "OCI Content Descriptors"), under the name that this vocabulary uses.
type Descriptor = ocispec.Descriptor

// Media types of manifests that registries hold, besides those that image-spec
// names itself.
const (
	MediaTypeDockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeSchema1Signed      = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	MediaTypeSchema1            = "application/vnd.docker.distribution.manifest.v1+json"
	MediaTypeOCIArtifact        = "application/vnd.oci.artifact.manifest.v1+json"
)

// ManifestMediaTypes is what every request for a manifest says it accepts, in
// order of preference. A registry that is not told answers with what it likes,
// down to a schema 1 manifest that it made up (OCI distribution specification,
// "Pulling manifests").
func ManifestMediaTypes() []string {
	return []string{
		ocispec.MediaTypeImageIndex,
		ocispec.MediaTypeImageManifest,
		MediaTypeDockerManifestList,
		MediaTypeDockerManifest,
		MediaTypeOCIArtifact,
		MediaTypeSchema1Signed,
		MediaTypeSchema1,
	}
}

// IsManifest says whether mediaType is one of a manifest that this program
// knows.
func IsManifest(mediaType string) bool {
	for _, known := range ManifestMediaTypes() {
		if mediaType == known {
			return true
		}
	}
	return false
}

// IsIndex says whether mediaType is one of a manifest that names other
// manifests.
func IsIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == MediaTypeDockerManifestList
}

// IsSchema1 says whether mediaType is one of Docker's first manifest format,
// whose digest is over its payload without the signatures around it.
func IsSchema1(mediaType string) bool {
	return mediaType == MediaTypeSchema1Signed || mediaType == MediaTypeSchema1
}

// MediaType is the media type of a Content-Type header, without parameters and
// in lower case (RFC 9110, section 8.3.1); "" for one that cannot be read.
func MediaType(contentType string) string {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return mediaType
}

// SameDigest says whether two digests contradict each other: digests of
// different algorithms do not, because a registry may know content under an
// algorithm of its own choice.
func SameDigest(a, b digest.Digest) bool {
	algorithmA, _, _ := strings.Cut(a.String(), ":")
	algorithmB, _, _ := strings.Cut(b.String(), ":")
	return algorithmA != algorithmB || a == b
}

// emptyDigests are the digests of no bytes at all, the only ones that go with a
// size of zero.
var emptyDigests = map[digest.Digest]bool{
	digest.SHA256.FromBytes(nil): true,
	digest.SHA384.FromBytes(nil): true,
	digest.SHA512.FromBytes(nil): true,
}

// ValidateDescriptor checks a descriptor that a registry sent before anything
// is asked for by it: digest, size, and inline data against both. The error
// matches ErrInvalidManifest, or ErrMismatch for data that is not what the
// digest says (OCI image specification, "Descriptor: Properties").
func ValidateDescriptor(d Descriptor) error {
	bad := func(kind error, format string, args ...any) error {
		return &Error{Op: "read a descriptor", Reference: Clean(d.Digest.String()), Kind: kind, Message: fmt.Sprintf(format, args...)}
	}
	if err := d.Digest.Validate(); err != nil {
		why := err.Error()
		if err == digest.ErrDigestUnsupported {
			why = "digest algorithm not supported (supported are sha256, sha384 and sha512)"
		}
		return bad(ErrInvalidManifest, "%s", why)
	}
	if d.Size < 0 {
		return bad(ErrInvalidManifest, "its size is negative (%d)", d.Size)
	}
	if (d.Size == 0) != emptyDigests[d.Digest] {
		return bad(ErrInvalidManifest, "a size of %d does not go with this digest", d.Size)
	}
	if d.Data != nil {
		if int64(len(d.Data)) != d.Size || d.Digest.Algorithm().FromBytes(d.Data) != d.Digest {
			return bad(ErrMismatch, "its inline data is not what its digest and size say")
		}
	}
	return nil
}

// IsForeign says whether a layer is one that registries do not hold: it names
// the places where it can be had, and must not be distributed.
func IsForeign(d Descriptor) bool {
	return len(d.URLs) > 0 && (strings.Contains(d.MediaType, "nondistributable") || strings.Contains(d.MediaType, "foreign"))
}
