package registry

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// The kinds of failure that callers distinguish with errors.Is. Every Error has
// exactly one of them as its Kind.
var (
	// ErrInvalidReference means that a reference or digest is malformed.
	ErrInvalidReference = errors.New("invalid reference")
	// ErrNotFound means that the registry itself reported that the content does not
	// exist. A 404 that did not come from a registry is ErrProtocol.
	ErrNotFound = errors.New("not found")
	// ErrUnauthorized means that the registry returned 401 for all available
	// credentials.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrDenied means that the registry returned 403, because of a policy or a
	// quota.
	ErrDenied = errors.New("denied")
	// ErrRateLimited means that the registry still returned 429 after all retries.
	ErrRateLimited = errors.New("rate limited")
	// ErrUnavailable means that the registry could not be reached, did not respond
	// in time, or still returned 5xx after all retries. For an image layout it
	// means that the file system failed, or that another writer has the lock.
	ErrUnavailable = errors.New("unavailable")
	// ErrMismatch means that received bytes do not match their digest or size.
	ErrMismatch = errors.New("content does not match its digest")
	// ErrInvalidManifest means that a manifest is malformed or ambiguous.
	ErrInvalidManifest = errors.New("invalid manifest")
	// ErrLimit means that a body, a graph or a list is larger than the limit.
	ErrLimit = errors.New("limit exceeded")
	// ErrUnsupported means that the registry does not support the operation.
	ErrUnsupported = errors.New("not supported by the registry")
	// ErrMissingContent means that the registry lacks content that a manifest
	// references. Either a destination rejected the manifest for that reason, or a
	// source does not have the content.
	ErrMissingContent = errors.New("the registry misses content that the manifest names")
	// ErrTagImmutable means that the tag exists and the registry does not allow
	// moving it.
	ErrTagImmutable = errors.New("tag is immutable")
	// ErrTagHeld means that the tag exists with another digest, which the caller
	// does not want to replace.
	ErrTagHeld = errors.New("tag holds another digest")
	// ErrProtocol means that the server does not implement the registry protocol,
	// or violates it.
	ErrProtocol = errors.New("not a registry's answer")
	// ErrForbiddenRedirect means that a redirect, token realm or upload location
	// points to an address that this program does not connect to or does not send
	// credentials to.
	ErrForbiddenRedirect = errors.New("refused to follow")
	// ErrInvalidLayout means that a path is not an OCI image layout.
	ErrInvalidLayout = errors.New("invalid image layout")
	// ErrCredentials means that credentials could not be read.
	ErrCredentials = errors.New("credentials could not be read")
)

// Side identifies the source or the destination of a copy.
type Side string

// The sides of a copy.
const (
	Source      Side = "source"
	Destination Side = "destination"
)

// Error is the error type of this package and of the packages below it. It has what
// a user needs to act: the side, the operation, the repository, the registry's own
// response, and a hint. Its text never contains a secret, and text from a registry
// is sanitized.
type Error struct {
	// Side is set by the caller that knows which side of a copy a repository is.
	Side Side
	// Op is the operation that failed, as a verb phrase: "upload the blob".
	Op string
	// Repository is host/repository, or only the host.
	Repository string
	// Reference is the tag or digest of the operation.
	Reference string
	// Status is the HTTP status, 0 if there was no response.
	Status int
	// Code is the registry's error code, such as MANIFEST_UNKNOWN (OCI distribution
	// specification, "Error Codes").
	Code string
	// Message is the registry's error message, or one of this program if the
	// registry sent none.
	Message string
	// Hint describes how to fix the error.
	Hint string
	// MaybeDone reports whether an earlier attempt of a write got no response or a
	// server error, so that the registry may have completed it.
	MaybeDone bool
	// Kind is one of the Err… values of this package.
	Kind error
	// Err is the cause, or nil.
	Err error
}

// Error returns everything except the hint on one line.
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
		b.WriteString(" " + e.referencePhrase())
	}
	b.WriteString(": " + e.Reason())
	return b.String()
}

// referencePhrase returns the reference in the form that follows Op. A tag is quoted and
// named as a tag, because "1" by itself is not clear.
func (e *Error) referencePhrase() string {
	switch quoted := strconv.Quote(e.Reference); {
	case strings.HasSuffix(e.Op, "the tag"):
		return quoted
	case strings.Contains(e.Reference, ":"): // a digest needs no quotes
	case strings.HasSuffix(e.Op, "the manifest"):
		return "of the tag " + quoted
	case e.Op == "look up" || e.Op == "look at":
		return "the tag " + quoted
	}
	return e.Reference
}

// Reason returns why the operation failed: the status, the registry's code and
// message, and the cause. It does not include the repository.
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
		parts[len(parts)-1] = strings.TrimSuffix(e.Message, ".") // because the cause follows
	}
	if e.Err != nil {
		parts = append(parts, Sanitize(causeText(e.Err)))
	}
	if len(parts) == 0 && e.Kind != nil {
		parts = append(parts, e.Kind.Error())
	}
	return strings.Join(parts, ": ")
}

// causeText returns the text of err. It replaces Go's text for a canceled context
// (Ctrl-C, or Terraform is stopped) and for an exceeded deadline.
func causeText(err error) string {
	text := err.Error()
	for ended, word := range map[error]string{context.Canceled: "interrupted", context.DeadlineExceeded: "it did not answer in time"} {
		if errors.Is(err, ended) {
			text = strings.ReplaceAll(text, ended.Error(), word)
		}
	}
	return text
}

// Unwrap returns the kind and the cause, for errors.Is and errors.As.
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

// newFault returns an Error without an operation and a reference. The caller adds
// them.
func newFault(kind error, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...), Hint: DefaultHint(kind)}
}

// inPart adds the part of the manifest that the error is about, and the digest of that
// part.
func (e *Error) inPart(part string, d digest.Digest) *Error {
	e.Message = fmt.Sprintf("%s (%q): %s", part, Sanitize(d.String()), e.Message)
	return e
}

// ErrInconsistentHead returns the error for a reference that exists by HEAD and
// does not exist by GET. Because it is not clear which response is correct, the
// error does not match ErrNotFound.
func ErrInconsistentHead(repository, reference string) error {
	return &Error{Op: "look up", Repository: repository, Reference: reference, Kind: ErrProtocol,
		Message: "the registry says by HEAD that it is there, and by GET that it is not",
		Hint:    "It may have been removed in this moment: try again. If it stays like this, look for a cache or proxy on the way."}
}

// WithSide returns a copy of err with its side set, if err is an *Error without
// one. Any wrapping error is discarded. Other errors are returned unchanged.
func WithSide(err error, side Side) error {
	var e *Error
	if !errors.As(err, &e) || e.Side != "" {
		return err
	}
	result := *e
	result.Side = side
	return &result
}

// WithRepository returns a copy of err with its repository set, if err is an *Error
// without one. Any wrapping error is discarded. Other errors are returned
// unchanged.
func WithRepository(err error, repository string) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Repository != "" {
		return err
	}
	result := *e
	result.Repository = repository
	return &result
}

// WithText returns an error with another text that wraps err.
func WithText(err error, text string) error {
	if text == err.Error() {
		return err
	}
	return textError{err, text}
}

type textError struct {
	error
	text string
}

// Error returns the replaced text.
func (e textError) Error() string { return e.text }

// Unwrap returns the original error.
func (e textError) Unwrap() error { return e.error }

// RedactError returns a copy of err with mask applied to every field that may quote
// a registry, if err is an *Error; see Repository.Redact. Any wrapping error is
// discarded.
func RedactError(err error, mask func(string) string) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	result := *e
	result.Code, result.Message, result.Reference, result.Hint = mask(e.Code), mask(e.Message), mask(e.Reference), mask(e.Hint)
	if e.Err != nil {
		result.Err = WithText(e.Err, mask(e.Err.Error()))
	}
	return &result
}
