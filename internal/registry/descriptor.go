package registry

import (
	"mime"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Descriptor is an alias of the image specification's descriptor (OCI image
// specification, "OCI Content Descriptors").
type Descriptor = ocispec.Descriptor

// Media types of manifests that image-spec does not define.
const (
	MediaTypeDockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeSchema1Signed      = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	MediaTypeSchema1            = "application/vnd.docker.distribution.manifest.v1+json"
	MediaTypeOCIArtifact        = "application/vnd.oci.artifact.manifest.v1+json"
)

// ManifestMediaTypes returns the value of the Accept header of every manifest
// request, in order of preference. Without that header, a registry chooses the
// format itself, and may even convert the manifest to schema 1 (OCI distribution
// specification, "Pulling manifests").
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

// IsManifest reports whether mediaType is a manifest type that this program
// supports.
func IsManifest(mediaType string) bool {
	return slices.Contains(ManifestMediaTypes(), mediaType)
}

// IsIndex reports whether mediaType is the type of a manifest that lists other
// manifests.
func IsIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == MediaTypeDockerManifestList
}

// IsSchema1 reports whether mediaType is Docker's first manifest format. Its digest
// is computed over the payload without the surrounding signatures.
func IsSchema1(mediaType string) bool {
	return mediaType == MediaTypeSchema1Signed || mediaType == MediaTypeSchema1
}

// MediaType returns the media type of a Content-Type header, without parameters and
// in lower case (RFC 9110, section 8.3.1). It returns "" if the header is
// malformed. Parameters are not parsed, so a malformed parameter has no effect.
func MediaType(contentType string) string {
	essence, _, _ := strings.Cut(contentType, ";")
	mediaType, _, err := mime.ParseMediaType(essence)
	if err != nil || !strings.Contains(mediaType, "/") {
		return ""
	}
	return mediaType
}

// emptyDigests are the digests of empty content, the only ones that are valid with
// a size of zero.
var emptyDigests = map[digest.Digest]bool{
	digest.SHA256.FromBytes(nil): true,
	digest.SHA384.FromBytes(nil): true,
	digest.SHA512.FromBytes(nil): true,
}

// maxBlobSize is the largest size that a descriptor may have, 16 TiB. It is far
// larger than any real blob. It is also small enough that the sum of the sizes in
// one copy cannot overflow.
const maxBlobSize = 1 << 44

// ValidateDescriptor checks the digest, the size and the inline data of a
// descriptor that a registry sent. It must be called before the descriptor is used
// in a request. The error matches ErrInvalidManifest, ErrLimit if the size is
// unrealistic, or ErrMismatch if the inline data does not match the digest or the
// size (OCI image specification, "Descriptor: Properties").
func ValidateDescriptor(d Descriptor) error {
	if fault := descriptorFault(d); fault != nil {
		fault.Op, fault.Reference = "read the descriptor of", Sanitize(d.Digest.String())
		return fault
	}
	return nil
}

// descriptorFault returns why a descriptor is invalid, or nil if it is valid.
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

// IsNonDistributable reports whether a layer must not be distributed. Registries do
// not store such a layer; its descriptor has the URLs that it can be downloaded
// from.
func IsNonDistributable(d Descriptor) bool {
	return len(d.URLs) > 0 && (strings.Contains(d.MediaType, "nondistributable") || strings.Contains(d.MediaType, "foreign"))
}
