package registry

import (
	"mime"
	"slices"
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
	return slices.Contains(ManifestMediaTypes(), mediaType)
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
// Parameters are not looked at, so that a broken one does no harm.
func MediaType(contentType string) string {
	essence, _, _ := strings.Cut(contentType, ";")
	mediaType, _, err := mime.ParseMediaType(essence)
	if err != nil || !strings.Contains(mediaType, "/") {
		return ""
	}
	return mediaType
}

// emptyDigests are the digests of no bytes at all, the only ones that go with a
// size of zero.
var emptyDigests = map[digest.Digest]bool{
	digest.SHA256.FromBytes(nil): true,
	digest.SHA384.FromBytes(nil): true,
	digest.SHA512.FromBytes(nil): true,
}

// maxBlobSize is the largest size that a descriptor may say, 16 TiB: far more
// than any registry holds, and so little that the sizes of everything that one
// copy names cannot overflow when they are added.
const maxBlobSize = 1 << 44

// ValidateDescriptor checks a descriptor that a registry sent before anything
// is asked for by it: digest, size, and inline data against both. The error
// matches ErrInvalidManifest, ErrLimit for a size that nothing has, or
// ErrMismatch for data that is not what the digest says (OCI image
// specification, "Descriptor: Properties").
func ValidateDescriptor(d Descriptor) error {
	if fault := descriptorFault(d); fault != nil {
		fault.Op, fault.Reference = "read the descriptor of", Sanitize(d.Digest.String())
		return fault
	}
	return nil
}

// descriptorFault says what is wrong with a descriptor, nil where nothing is.
func descriptorFault(d Descriptor) *Error {
	if why := digestFault(d.Digest); why != "" {
		return newFault(ErrInvalidManifest, "its digest is refused: %s", why)
	}
	switch {
	case d.Size < 0:
		return newFault(ErrInvalidManifest, "its size is negative (%d)", d.Size)
	case d.Size > maxBlobSize:
		return newFault(ErrLimit, "its size of %d bytes is larger than the %d that are believed", d.Size, int64(maxBlobSize))
	case (d.Size == 0) != emptyDigests[d.Digest]:
		return newFault(ErrInvalidManifest, "a size of %d does not go with its digest %s", d.Size, d.Digest)
	case d.Data == nil:
		return nil
	case int64(len(d.Data)) != d.Size:
		return newFault(ErrMismatch, "its inline data has %d bytes, and it says %d", len(d.Data), d.Size)
	}
	if found := d.Digest.Algorithm().FromBytes(d.Data); found != d.Digest {
		return newFault(ErrMismatch, "its inline data has the digest %s, and it says %s", found, d.Digest)
	}
	return nil
}

// IsNonDistributable says whether a layer is one that registries do not hold: it names
// the places where it can be had, and must not be distributed.
func IsNonDistributable(d Descriptor) bool {
	return len(d.URLs) > 0 && (strings.Contains(d.MediaType, "nondistributable") || strings.Contains(d.MediaType, "foreign"))
}
