package registry

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
)

// Repository stores manifests and blobs: a repository of a registry, or an image
// layout on disk. It is the only interface between the copier and its storage.
//
// Every method retries failures that may be temporary, honors its context, and
// returns an *Error. Every implementation verifies the content that it returns: if
// bytes do not match the requested digest, it returns an error that matches
// ErrMismatch.
type Repository interface {
	// Name returns host/repository, as in a Reference. Two repositories with the
	// same name are the same repository.
	Name() string
	// Host returns the host of the registry. Repositories of one host can mount
	// each other's blobs.
	Host() string
	// Redact replaces credentials in text that were sent to the repository. The
	// repository may return them, and errors and logs quote its content.
	Redact(text string) string

	// Resolve returns the descriptor of a tag or digest, with at most media type,
	// digest and size. It is a hint: content is hashed only if the registry sends
	// no digest. ErrNotFound is a hint too, because a response to HEAD does not
	// show whether it came from a registry. Only ErrNotFound of GetManifest is
	// definite.
	Resolve(ctx context.Context, reference string) (Descriptor, error)
	// GetManifest returns the manifest of a tag or digest, with the received bytes
	// and media type. For a digest it returns exactly those bytes or ErrMismatch.
	// ErrNotFound means that the registry itself reported it.
	GetManifest(ctx context.Context, reference string) (Manifest, error)
	// PutManifest pushes a manifest under a tag or its digest, with its exact bytes
	// and media type. Besides the common errors, it returns ErrMissingContent,
	// ErrTagImmutable, and ErrInvalidManifest if the registry rejects the manifest
	// as invalid.
	PutManifest(ctx context.Context, reference string, m Manifest) error
	// DeleteTag removes a tag but not its manifest. It returns ErrUnsupported if
	// the registry does not support that, and ErrNotFound if the tag does not
	// exist.
	DeleteTag(ctx context.Context, tag string) error
	// DeleteManifest removes a manifest and every tag that points to it.
	DeleteManifest(ctx context.Context, d digest.Digest) error
	// ListTags returns all tags. It returns ErrLimit if there are too many.
	ListTags(ctx context.Context) ([]string, error)
	// ListReferrers returns all pages of the list of referrers of a digest. An
	// empty list is not an error, and neither is a subject that does not exist. It
	// returns ErrLimit if there are too many referrers.
	ListReferrers(ctx context.Context, subject digest.Digest) (ReferrerList, error)

	// StatBlob returns the size of a blob. It returns ErrNotFound if the blob does
	// not exist, and ErrMismatch if the repository has read the blob and found it
	// damaged. After any other error it is unknown whether the blob exists.
	StatBlob(ctx context.Context, d digest.Digest) (Descriptor, error)
	// GetBlob opens a blob. The reader resumes after a broken connection. It
	// returns the last bytes only if digest and size are correct. d must have a
	// size.
	GetBlob(ctx context.Context, d Descriptor) (io.ReadCloser, error)
	// PutBlob ensures that the blob exists, and returns how. It never commits a
	// blob whose content is incomplete.
	PutBlob(ctx context.Context, d Descriptor, content Content) (Outcome, error)
}

// Locker is a Repository that can exclude other writers while a caller reads,
// changes and writes a list of referrers or tags.
type Locker interface {
	// WithLock runs f while no other caller of this or another process runs its
	// own. The error is that of f, or why f was not run.
	WithLock(ctx context.Context, f func() error) error
}

// Content describes the sources that PutBlob may use for a blob.
type Content struct {
	// From is the name of a repository of the same host that has the blob, "" if
	// none is known.
	From string
	// Force makes PutBlob upload the content, even if the registry reports that the
	// blob exists, and never mount it.
	Force bool
	// Prefetch makes PutBlob open the content while it checks whether the blob
	// exists. That saves a round trip if the blob does not exist, and is wasted if
	// it does.
	Prefetch bool
	// Open opens the content from its first byte. It is called only when bytes are
	// needed, and again for each attempt. Its error is returned unchanged.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// Sending runs while content is sent or committed, but not while the upload
	// waits for a slot. It may be nil.
	Sending *Stopwatch
}

// Outcome is how PutBlob made a blob available.
type Outcome string

// The outcomes of PutBlob.
const (
	// Copied means that the content was uploaded.
	Copied Outcome = "copied"
	// Mounted means that the registry mounted the blob from another repository.
	Mounted Outcome = "mounted"
	// AlreadyExists means that the blob existed before.
	AlreadyExists Outcome = "already there"
)
