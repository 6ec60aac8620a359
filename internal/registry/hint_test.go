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

func TestSetting(t *testing.T) {
	for host, want := range map[string]string{
		"localhost:5000":          `registries = { "localhost:5000" = { plain_http = false } }`,
		"[::ffff:1.2.3.4]:5000":   `registries = { "[::ffff:1.2.3.4]:5000" = { plain_http = false } }`,
		"a\x1b::set-output x=y\n": `registries = { "a : :set-output x=y" = { plain_http = false } }`,
	} {
		if got := registry.Setting(host, "plain_http = false"); got != want {
			t.Errorf("Setting(%q) = %s, want %s", host, got, want)
		}
	}
}

func TestRetold(t *testing.T) {
	instead := func(host, settings string) string { return "do <" + host + "|" + settings + ">" }
	plain, authority := registry.Setting("b.c:5000", "plain_http = true"), registry.Setting("b.c", `ca_certificate = file("ca.pem")`)
	for hint, want := range map[string]string{
		"Look there. Try again.":               "Look there. Try again.",
		"If it has no TLS, set " + plain + ".": "If it has no TLS, do <b.c:5000|plain_http = true>.",
		"Set " + authority + ", or more a.b. The file. Or set " + plain + " too. End.": `Do <b.c|ca_certificate = file("ca.pem")>. The file. Or do <b.c:5000|plain_http = true>. End.`,
		`Correct it, or set docker_config_path to another one, or to "" for none.`:     "Correct it, or do <|docker_config_path>.",
		"Reset " + plain + ".": "Reset " + plain + ".",
	} {
		if got := registry.Retold(hint, instead); got != want {
			t.Errorf("Retold(%s) = %s\nwant %s", hint, got, want)
		}
	}
}

func TestHintMissingTag(t *testing.T) {
	missing := &registry.Error{Side: registry.Source, Kind: registry.ErrNotFound}
	const want = `"b.c/app" gives no tag, so that "latest" was assumed. Write the tag that is meant.`
	if got := registry.HintMissingTag("b.c/app", fmt.Errorf("around it: %w", missing)); got != want {
		t.Errorf("HintMissingTag() = %q, want %q", got, want)
	}
	for written, err := range map[string]error{
		"b.c/app:latest": missing,
		"b.c/app:":       missing,
		"b.c/app":        &registry.Error{Side: registry.Destination, Kind: registry.ErrNotFound},
		"b.c/other":      &registry.Error{Side: registry.Source, Kind: registry.ErrDenied},
	} {
		if got := registry.HintMissingTag(written, err); got != "" {
			t.Errorf("HintMissingTag(%s, %v) = %q, want an empty string", written, err, got)
		}
	}
}

func TestWithDefaultHint(t *testing.T) {
	hint := func(err error) string {
		e, _ := errors.AsType[*registry.Error](registry.WithDefaultHint(err))
		return e.Hint
	}
	for _, kind := range []error{
		registry.ErrInvalidReference, registry.ErrMismatch, registry.ErrInvalidManifest, registry.ErrLimit, registry.ErrUnsupported,
		registry.ErrMissingContent, registry.ErrTagImmutable, registry.ErrDenied, registry.ErrForbiddenRedirect, registry.ErrProtocol, registry.ErrUnavailable,
	} {
		bare := &registry.Error{Op: "x", Kind: kind}
		if got := hint(fmt.Errorf("around it: %w", bare)); got == "" || got != registry.DefaultHint(kind) {
			t.Errorf("hint of %v = %q, want %q", kind, got, registry.DefaultHint(kind))
		}
		if bare.Hint != "" {
			t.Error("WithDefaultHint() changed its argument")
		}
	}
	if got := hint(&registry.Error{Kind: registry.ErrProtocol, Hint: "Its own."}); got != "Its own." {
		t.Errorf("hint = %q, want the existing one", got)
	}
	// The user who canceled the operation, or set its timeout, needs no hint.
	for _, ended := range []error{context.Canceled, context.DeadlineExceeded} {
		if got := hint(&registry.Error{Kind: registry.ErrUnavailable, Err: ended}); got != "" {
			t.Errorf("hint of %v = %q, want an empty string", ended, got)
		}
	}
	if err := registry.WithDefaultHint(io.EOF); err != io.EOF {
		t.Errorf("WithDefaultHint() = %v, want io.EOF unchanged", err)
	}
}

func TestParse_ErrorHints(t *testing.T) {
	_, referenceErr := registry.ParseReference("registry.example.com/app:")
	_, responseErr := registry.NewManifest("text/html", nil, "")
	_, manifestErr := newManifest(t, ociImage, "[]").Parse()
	wrong := descriptorOf("x", "y")
	wrong.Data = []byte("z")
	for want, err := range map[string]error{
		"registry.example.com/team/app:1.4": referenceErr,
		"64 hexadecimal digits":             registry.ValidateDigest("sha256:x"),
		"the host, the port":                responseErr,
		"Build it again":                    manifestErr,
		"is damaged":                        registry.ValidateDescriptor(wrong),
	} {
		if e, ok := errors.AsType[*registry.Error](err); !ok || !strings.Contains(e.Hint, want) {
			t.Errorf("hint of %v does not contain %q", err, want)
		}
	}
}
