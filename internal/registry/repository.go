package registry

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
)

// Repository is a place that holds manifests and blobs: one repository of a
// registry, or an image layout on disk. It is the only interface between the
// copier and the outside.
//
// Every method retries what is worth retrying before it returns, honours its
// context, and returns an *Error. Every implementation verifies what it hands
// out: bytes that do not match the digest asked for are an error that matches
// ErrMismatch, never content.
type Repository interface {
	// Name is host/repository, as in a Reference. Two repositories of one name
	// are the same.
	Name() string
	// Host is the registry that it is on. Repositories of one host can mount
	// each other's blobs.
	Host() string
	// Redact hides in text what the repository was sent to prove who asks: what
	// it holds may repeat that, and errors and logs quote what it holds.
	Redact(text string) string

	// Resolve returns what a tag or digest names, with at most media type,
	// digest and size. It is a hint: nothing was hashed unless the registry
	// gave no digest. ErrNotFound from it is a hint too; only GetManifest's is
	// definite, because only a GET's answer says who gave it.
	Resolve(ctx context.Context, reference string) (Descriptor, error)
	// GetManifest returns the manifest that a tag or digest names, bytes and
	// media type as received. Asked by digest it returns those bytes or
	// ErrMismatch. ErrNotFound means that the registry itself said so.
	GetManifest(ctx context.Context, reference string) (Manifest, error)
	// PutManifest puts a manifest under a tag or under its digest, with the
	// bytes and media type that it has. Besides the common errors:
	// ErrMissingContent, ErrTagImmutable, and ErrInvalidManifest where the
	// registry refuses it as such.
	PutManifest(ctx context.Context, reference string, m Manifest) error
	// DeleteTag removes a tag and leaves the manifest. ErrUnsupported where
	// the registry cannot; ErrNotFound where there is none.
	DeleteTag(ctx context.Context, tag string) error
	// DeleteManifest removes a manifest and with it every tag that names it.
	DeleteManifest(ctx context.Context, d digest.Digest) error
	// ListTags returns all tags. ErrLimit where there are too many to read.
	ListTags(ctx context.Context) ([]string, error)
	// ListReferrers returns what is listed as referring to a digest, all pages of
	// it. Nothing listed is no error, and neither is a subject that is not there.
	// ErrLimit where there are too many to read.
	ListReferrers(ctx context.Context, subject digest.Digest) (ReferrerList, error)

	// StatBlob returns the size of a blob that is there, and ErrNotFound where
	// it is not. ErrMismatch means that the repository has read it, and that its
	// bytes are damaged. Any other error means that it is not known.
	StatBlob(ctx context.Context, d digest.Digest) (Descriptor, error)
	// GetBlob opens a blob. The reader resumes where a connection breaks, and
	// gives its last bytes only when digest and size are right. d must have
	// its size.
	GetBlob(ctx context.Context, d Descriptor) (io.ReadCloser, error)
	// PutBlob makes sure that the blob is there and says how it came there.
	// Nothing that content does not give completely is ever committed.
	PutBlob(ctx context.Context, d Descriptor, content Content) (Outcome, error)
}

// Locker is a Repository that can keep others from changing what it lists
// while somebody reads, changes and writes it.
type Locker interface {
	// WithLock runs f while nobody else does, of this process or another. The
	// error is f's, or why it was not run.
	WithLock(ctx context.Context, f func() error) error
}

// Content is where PutBlob may get a blob from.
type Content struct {
	// From is the name of a repository of the same host that is known to hold
	// the blob, "" where none is.
	From string
	// Force makes PutBlob believe no answer that the blob is there already,
	// and mount nothing: the content is sent.
	Force bool
	// Prefetch makes PutBlob open the content while it still asks whether the blob
	// is there, which saves a round trip where it is not and opens the content
	// in vain where it is.
	Prefetch bool
	// Open opens the content from its first byte. It is called only when bytes
	// are wanted, and again for each attempt; its error is returned as it is.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// Sending runs while content is sent or committed, and not while it waits for its
	// turn. It may be nil.
	Sending *Stopwatch
}

// Outcome is how a blob came to be where it was wanted.
type Outcome string

// The outcomes of PutBlob.
const (
	// Copied: its bytes were sent.
	Copied Outcome = "copied"
	// Mounted: the registry made it available from another repository.
	Mounted Outcome = "mounted"
	// AlreadyExists: it was there.
	AlreadyExists Outcome = "already there"
)
