package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestError_Text(t *testing.T) {
	tests := []struct {
		err  registry.Error
		want string
	}{
		{registry.Error{
			Side: registry.Destination, Op: "push the manifest", Repository: "ghcr.io/acme/app", Reference: "1.4", Status: 403,
			Code: "DENIED", Message: "no quota left", Hint: "buy more", Kind: registry.ErrDenied,
		}, "destination ghcr.io/acme/app: cannot push the manifest of the tag \"1.4\": HTTP 403: DENIED: no quota left"},
		{registry.Error{
			Side: registry.Source, Op: "read the blob", Repository: "ghcr.io/acme/app", Kind: registry.ErrUnavailable, Err: io.ErrUnexpectedEOF,
		}, "source ghcr.io/acme/app: cannot read the blob: unexpected EOF"},
		{registry.Error{Op: "read the reference", Reference: "x", Kind: registry.ErrInvalidReference}, "cannot read the reference x: invalid reference"},
		{registry.Error{Op: "list the tags", Kind: registry.ErrUnavailable, Message: "gave up", Err: context.DeadlineExceeded}, "cannot list the tags: gave up: it did not answer in time"},
		{registry.Error{Op: "look up", Reference: "1", Status: 429, Message: "You have reached your limit.", Err: errors.New("it asks to wait 2s")},
			`cannot look up the tag "1": HTTP 429: You have reached your limit: it asks to wait 2s`},
		{registry.Error{Op: "look up", Reference: "1", Message: "Gone."}, `cannot look up the tag "1": Gone.`},
		{registry.Error{Op: "look up", Reference: "1", Status: 503}, `cannot look up the tag "1": HTTP 503`},
		{registry.Error{Op: "delete the tag", Reference: "1", Status: 503}, `cannot delete the tag "1": HTTP 503`},
		{registry.Error{Op: "look up", Reference: "sha256:ab", Status: 503}, "cannot look up sha256:ab: HTTP 503"},
		{registry.Error{Op: "read the manifest", Reference: "sha256:ab", Status: 503}, "cannot read the manifest sha256:ab: HTTP 503"},
		{registry.Error{Op: "get credentials for", Reference: "ghcr.io", Message: "none"}, "cannot get credentials for ghcr.io: none"},
		{registry.Error{Op: "list the tags", Kind: registry.ErrUnavailable, Err: fmt.Errorf("no time: %w", context.Canceled)}, "cannot list the tags: no time: interrupted"},
		{registry.Error{Op: "list the tags", Kind: registry.ErrUnavailable, Err: errors.New("it says: context canceled")}, "cannot list the tags: it says: context canceled"},
	}
	for _, test := range tests {
		if got := test.err.Error(); got != test.want {
			t.Errorf("Error() = %s\nwant %s", got, test.want)
		}
	}
}

func TestError_SanitizesCause(t *testing.T) {
	err := &registry.Error{Op: "read the manifest", Kind: registry.ErrProtocol, Err: errors.New("bad header \"\x1b[31m\r\n::set-output name=x::\"")}
	assertError(t, err, registry.ErrProtocol, `bad header " [31m : :set-output`)
}

func TestError_Is(t *testing.T) {
	cause := fmt.Errorf("dial: %w", io.ErrClosedPipe)
	err := fmt.Errorf("while copying: %w", &registry.Error{Op: "read the blob", Kind: registry.ErrUnavailable, Err: cause})
	for _, want := range []error{registry.ErrUnavailable, cause, io.ErrClosedPipe} {
		if !errors.Is(err, want) {
			t.Errorf("errors.Is(%v, %v) = false, want true", err, want)
		}
	}
	for _, other := range []error{registry.ErrNotFound, io.EOF} {
		if errors.Is(err, other) {
			t.Errorf("errors.Is(%v, %v) = true, want false", err, other)
		}
	}
	if errors.Is(&registry.Error{Op: "x"}, registry.ErrNotFound) {
		t.Error("an error without kind and cause matches ErrNotFound")
	}
}

func TestRedactError(t *testing.T) {
	mask := func(text string) string { return strings.ReplaceAll(text, "s3cret", "***") }
	original := &registry.Error{
		Op: "read the manifest", Repository: "ghcr.io/acme/app", Reference: "s3cret-1", Code: "S_s3cret", Message: "it is s3cret", Hint: "Look at s3cret.",
		Kind: registry.ErrInvalidManifest, Err: fmt.Errorf("quoting s3cret: %w", io.ErrUnexpectedEOF),
	}
	err := registry.RedactError(original, mask)
	assertError(t, err, registry.ErrInvalidManifest, "cannot read the manifest of the tag \"***-1\": S_***: it is ***: quoting ***: unexpected EOF")
	e, _ := errors.AsType[*registry.Error](err)
	if e.Hint != "Look at ***." || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("RedactError() hint = %q, cause = %v", e.Hint, e.Err)
	}
	if !strings.Contains(original.Message, "s3cret") {
		t.Error("the argument was changed")
	}
	if err := registry.RedactError(io.EOF, mask); err != io.EOF {
		t.Errorf("error = %v, want io.EOF unchanged", err)
	}
}

func TestWithRepository(t *testing.T) {
	original := &registry.Error{Op: "read the manifest", Kind: registry.ErrInvalidManifest}
	assertError(t, registry.WithRepository(fmt.Errorf("so: %w", original), "ghcr.io/a"), registry.ErrInvalidManifest, "ghcr.io/a: cannot read the manifest")
	if original.Repository != "" {
		t.Error("the argument was changed")
	}
	assertError(t, registry.WithRepository(&registry.Error{Op: "look up", Repository: "ghcr.io/b", Kind: registry.ErrNotFound}, "ghcr.io/a"), registry.ErrNotFound, "ghcr.io/b: cannot look up")
	if err := registry.WithRepository(io.EOF, "ghcr.io/a"); err != io.EOF {
		t.Errorf("error = %v, want io.EOF unchanged", err)
	}
}

func TestWithSide(t *testing.T) {
	original := &registry.Error{Op: "read the blob", Kind: registry.ErrNotFound}
	err := registry.WithSide(original, registry.Source)
	assertError(t, err, registry.ErrNotFound, "source cannot read the blob")
	if original.Side != "" {
		t.Error("the argument was changed")
	}
	err = registry.WithSide(err, registry.Destination)
	assertError(t, err, registry.ErrNotFound, "source cannot read the blob")
}

func TestWithSide_WrappedError(t *testing.T) {
	wrapped := fmt.Errorf("attempt 3: %w", &registry.Error{Op: "read the blob", Kind: registry.ErrNotFound})
	assertError(t, registry.WithSide(wrapped, registry.Destination), registry.ErrNotFound, "destination cannot read the blob")
}

func TestWithSide_OtherErrors(t *testing.T) {
	if err := registry.WithSide(nil, registry.Source); err != nil {
		t.Errorf("WithSide(nil) = %v, want nil", err)
	}
	if err := registry.WithSide(context.Canceled, registry.Source); err != context.Canceled { //nolint:errorlint // the test compares identity
		t.Errorf("WithSide() = %v, want context.Canceled unchanged", err)
	}
}
