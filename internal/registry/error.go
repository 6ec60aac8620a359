package registry

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// The kinds of failure that callers tell apart with errors.Is. Every Error has
// exactly one of them as its Kind.
var (
	// ErrInvalidReference: the reference or digest is not well formed.
	ErrInvalidReference = errors.New("invalid reference")
	// ErrNotFound: the registry said itself that it has no such thing. A 404
	// that is not a registry's is ErrProtocol.
	ErrNotFound = errors.New("not found")
	// ErrUnauthorized: 401 after every credential there is.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrDenied: 403, a policy or a quota.
	ErrDenied = errors.New("denied")
	// ErrRateLimited: 429, still after the retries.
	ErrRateLimited = errors.New("rate limited")
	// ErrUnavailable: the registry could not be reached, did not answer in
	// time, or answered 5xx, still after the retries. Of an image layout: the file
	// system failed, or another writer holds the lock.
	ErrUnavailable = errors.New("unavailable")
	// ErrMismatch: the bytes received are not what their digest or size says.
	ErrMismatch = errors.New("content does not match its digest")
	// ErrInvalidManifest: a manifest cannot be read, or may be read in two ways.
	ErrInvalidManifest = errors.New("invalid manifest")
	// ErrLimit: a body, a graph or a list is larger than what is accepted.
	ErrLimit = errors.New("limit exceeded")
	// ErrUnsupported: the registry cannot do what was asked.
	ErrUnsupported = errors.New("not supported by the registry")
	// ErrMissingContent: the registry misses content that a manifest names: a
	// destination refused it for that, or a source does not have it.
	ErrMissingContent = errors.New("the registry misses content that the manifest names")
	// ErrTagImmutable: the tag exists and the registry does not let it move.
	ErrTagImmutable = errors.New("tag is immutable")
	// ErrTagHeld: the tag holds something that the caller does not want replaced.
	ErrTagHeld = errors.New("tag holds another digest")
	// ErrProtocol: what answered does not speak the registry protocol, or not
	// as it must.
	ErrProtocol = errors.New("not a registry's answer")
	// ErrForbiddenRedirect: a redirect, token realm or upload location led where
	// this program does not go, or where it does not take credentials.
	ErrForbiddenRedirect = errors.New("refused to follow")
	// ErrInvalidLayout: what is on disk is no OCI image layout.
	ErrInvalidLayout = errors.New("invalid image layout")
	// ErrCredentials: credentials could not be read.
	ErrCredentials = errors.New("credentials could not be read")
)

// Side says which end of a copy an error belongs to.
type Side string

// The sides of a copy.
const (
	Source      Side = "source"
	Destination Side = "destination"
)

// Error is the one error that rises from this package and those below it. It
// carries what a person needs to act: which side, what was attempted, where,
// what the registry itself said, and what to do. Its text never holds a secret
// and only cleaned words of a registry.
type Error struct {
	// Side is set by whoever knows which end of a copy a repository is.
	Side Side
	// Op is what was attempted, as a verb phrase: "upload the blob".
	Op string
	// Repository is host/repository, or the host alone.
	Repository string
	// Reference is the tag or digest that it was about.
	Reference string
	// Status is the HTTP status, 0 where there was none.
	Status int
	// Code is the registry's own error code, such as MANIFEST_UNKNOWN (OCI
	// distribution specification, "Error Codes").
	Code string
	// Message is the registry's own message or, where it gave none, ours.
	Message string
	// Hint says what to do.
	Hint string
	// MaybeDone reports that an earlier attempt of a write got no response or a
	// server error, so that the registry may have carried it out.
	MaybeDone bool
	// Kind is one of the Err… values of this package.
	Kind error
	// Err is the cause, where there is one.
	Err error
}

// Error gives everything but the hint in one line.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Side != "" {
		b.WriteString(string(e.Side) + " ")
	}
	if e.Repository != "" {
		b.WriteString(e.Repository + ": ")
	}
	b.WriteString("cannot " + e.Op)
	if e.Reference != "" {
		b.WriteString(" " + e.about())
	}
	b.WriteString(": " + e.Reason())
	return b.String()
}

// about is the reference as it goes on from Op: a tag is quoted and called one,
// because "1" alone tells nobody what it is.
func (e *Error) about() string {
	switch quoted := strconv.Quote(e.Reference); {
	case strings.HasSuffix(e.Op, "the tag"):
		return quoted
	case strings.Contains(e.Reference, ":"): // a digest
	case strings.HasSuffix(e.Op, "the manifest"):
		return "of the tag " + quoted
	case e.Op == "look up" || e.Op == "look at":
		return "the tag " + quoted
	}
	return e.Reference
}

// Reason is why it failed, without saying where: status, the registry's own
// code and message, and the cause.
func (e *Error) Reason() string {
	var parts []string
	if e.Status != 0 {
		parts = append(parts, fmt.Sprintf("HTTP %d", e.Status))
	}
	if e.Code != "" {
		parts = append(parts, e.Code)
	}
	if e.Message != "" {
		parts = append(parts, e.Message)
	}
	if e.Err != nil && e.Message != "" {
		parts[len(parts)-1] = strings.TrimSuffix(e.Message, ".") // it goes on
	}
	if e.Err != nil {
		parts = append(parts, Sanitize(causeText(e.Err)))
	}
	if len(parts) == 0 && e.Kind != nil {
		parts = append(parts, e.Kind.Error())
	}
	return strings.Join(parts, ": ")
}

// causeText is an error's own text, with a person's words for what Go calls a
// cancelled context (Ctrl-C, or Terraform that was told to stop) and for a
// deadline.
func causeText(err error) string {
	text := err.Error()
	for ended, word := range map[error]string{context.Canceled: "interrupted", context.DeadlineExceeded: "it did not answer in time"} {
		if errors.Is(err, ended) {
			text = strings.ReplaceAll(text, ended.Error(), word)
		}
	}
	return text
}

// Unwrap lets errors.Is find the kind, and errors.Is and errors.As the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Kind != nil {
		errs = append(errs, e.Kind)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// newFault is the part of an Error that says what is wrong. Whoever knows what
// it is about adds what was attempted.
func newFault(kind error, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...), Hint: DefaultHint(kind)}
}

// in says in which part of a manifest a fault is, and which digest that part
// has.
func (e *Error) in(part string, d digest.Digest) *Error {
	e.Message = fmt.Sprintf("%s (%q): %s", part, Sanitize(d.String()), e.Message)
	return e
}

// ErrInconsistentHead is the error of a reference that a registry says is there when it
// is asked by HEAD, and is not when it is asked by GET. Which is right nobody
// knows, so that it is not ErrNotFound.
func ErrInconsistentHead(repository, reference string) error {
	return &Error{Op: "look up", Repository: repository, Reference: reference, Kind: ErrProtocol,
		Message: "the registry says by HEAD that it is there, and by GET that it is not",
		Hint:    "It may have been removed in this moment: try again. If it stays like this, look for a cache or proxy on the way."}
}

// WithSide returns err with its side set. That of a wrapped *Error is returned
// without what is around it. An error that has a side already, or that is no
// *Error, is returned as it is.
func WithSide(err error, side Side) error {
	var e *Error
	if !errors.As(err, &e) || e.Side != "" {
		return err
	}
	sided := *e
	sided.Side = side
	return &sided
}

// WithRepository returns err with its repository set, where it is an *Error that names none:
// what is around it is lost then.
func WithRepository(err error, repository string) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Repository != "" {
		return err
	}
	named := *e
	named.Repository = repository
	return &named
}

// WithText is err with another text. What it is can still be recognised.
func WithText(err error, text string) error {
	if text == err.Error() {
		return err
	}
	return reworded{err, text}
}

type reworded struct {
	error
	text string
}

// Error is the other text.
func (e reworded) Error() string { return e.text }

// Unwrap lets the error be recognised.
func (e reworded) Unwrap() error { return e.error }

// RedactError returns err with mask applied to all that may quote a registry, where
// it is an *Error; see Repository.Mask. What is around it is lost.
func RedactError(err error, mask func(string) string) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	masked := *e
	masked.Code, masked.Message, masked.Reference, masked.Hint = mask(e.Code), mask(e.Message), mask(e.Reference), mask(e.Hint)
	if e.Err != nil {
		masked.Err = WithText(e.Err, mask(e.Err.Error()))
	}
	return &masked
}
