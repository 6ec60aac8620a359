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

func TestASettingIsWrittenAsPeopleWriteIt(t *testing.T) {
	for host, want := range map[string]string{
		"localhost:5000":          `registries = { "localhost:5000" = { plain_http = false } }`,
		"[::ffff:1.2.3.4]:5000":   `registries = { "[::ffff:1.2.3.4]:5000" = { plain_http = false } }`,
		"a\x1b::set-output x=y\n": `registries = { "a : :set-output x=y" = { plain_http = false } }`,
	} {
		if got := registry.Setting(host, "plain_http = false"); got != want {
			t.Errorf("it is %s, want %s", got, want)
		}
	}
}

func TestAnErrorWithoutAHintGetsTheOneForItsKind(t *testing.T) {
	hint := func(err error) string {
		e, _ := errors.AsType[*registry.Error](registry.Advised(err))
		return e.Hint
	}
	for _, kind := range []error{
		registry.ErrInvalidReference, registry.ErrMismatch, registry.ErrInvalidManifest, registry.ErrLimit, registry.ErrUnsupported,
		registry.ErrMissingContent, registry.ErrDenied, registry.ErrForbiddenHop, registry.ErrProtocol, registry.ErrUnavailable,
	} {
		bare := &registry.Error{Op: "x", Kind: kind}
		if got := hint(fmt.Errorf("around it: %w", bare)); got == "" || got != registry.Advice(kind) {
			t.Errorf("%v: the hint is %q", kind, got)
		}
		if bare.Hint != "" {
			t.Error("the error that was given has changed; others may hold it")
		}
	}
	if got := hint(&registry.Error{Kind: registry.ErrProtocol, Hint: "Its own."}); got != "Its own." {
		t.Errorf("the hint is %q", got)
	}
	// Whoever ended it, or gave it its time, knows.
	for _, ended := range []error{context.Canceled, context.DeadlineExceeded} {
		if got := hint(&registry.Error{Kind: registry.ErrUnavailable, Err: ended}); got != "" {
			t.Errorf("%v: the hint is %q", ended, got)
		}
	}
	if err := registry.Advised(io.EOF); err != io.EOF {
		t.Errorf("another error became %v", err)
	}
}

func TestWhatCannotBeReadComesWithAdvice(t *testing.T) {
	_, referenceErr := registry.ParseReference("registry.example.com/app:")
	_, answerErr := registry.NewManifest("text/html", nil, "")
	_, manifestErr := received(t, ociImage, "[]").Parse()
	lying := described("x", "y")
	lying.Data = []byte("z")
	for want, err := range map[string]error{
		"registry.example.com/team/app:1.4": referenceErr,
		"64 hexadecimal digits":             registry.ValidateDigest("sha256:x"),
		"the host, the port":                answerErr,
		"Build it again":                    manifestErr,
		"is damaged":                        registry.ValidateDescriptor(lying),
	} {
		if e, ok := errors.AsType[*registry.Error](err); !ok || !strings.Contains(e.Hint, want) {
			t.Errorf("%v: the hint does not say %q", err, want)
		}
	}
}
