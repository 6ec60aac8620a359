package provider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestErrorSummary(t *testing.T) {
	t.Parallel()
	const fallback = "It did not succeed"
	unknown := &imageCopyResource{engine: &engine{unknown: []unknownSetting{{name: "registries"}}}}
	_, _, unknownErr := unknown.refreshSource(t.Context(), imageCopyModel{Source: newReference("ghcr.io/acme/app:1")}, newPrivateState())
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"gone":            {&registry.Error{Kind: registry.ErrNotFound}, "Source Image Not Found"},
		"wrapped":         {fmt.Errorf("so: %w", &registry.Error{Kind: registry.ErrUnauthorized}), "Source Registry Denied Access"},
		"unavailable":     {&registry.Error{Kind: registry.ErrUnavailable}, "Source Registry Is Unavailable"},
		"no_platform":     {&registry.Error{Op: "find the platform linux/s390x in", Kind: registry.ErrNotFound}, "Source Image Lacks Platform"},
		"no_token":        {&registry.Error{Op: "fetch a token from", Kind: registry.ErrUnavailable}, "Source Token Service Is Unavailable"},
		"protocol_error":  {&registry.Error{Kind: registry.ErrProtocol}, fallback},
		"canceled":        {&registry.Error{Kind: registry.ErrUnavailable, Err: context.Canceled}, fallback},
		"timed_out":       {&registry.Error{Kind: registry.ErrRateLimited, Err: context.DeadlineExceeded}, fallback},
		"unknown_setting": {unknownErr, fallback},
	} {
		if got := errorSummary("Source ", test.err, fallback); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestMayBeCreatedLater(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"missing_image":      {&registry.Error{Kind: registry.ErrNotFound}, true},
		"invalid_layout":     {&registry.Error{Kind: registry.ErrInvalidLayout}, false},
		"missing_platform":   {&registry.Error{Op: "find the platform linux/s390x in", Kind: registry.ErrNotFound}, false},
		"connection_refused": {&registry.Error{Kind: registry.ErrUnavailable, Err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}}, false},
		"unknown_host":       {&registry.Error{Kind: registry.ErrUnavailable, Err: &net.DNSError{IsNotFound: true}}, false},
		"missing_content":    {&registry.Error{Kind: registry.ErrMissingContent}, false},
		"unauthorized":       {&registry.Error{Kind: registry.ErrUnauthorized}, false},
	} {
		if got := mayBeCreatedLater(test.err); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestSourceAdvice checks that only a plan with an object to destroy includes the advice about
// terraform destroy.
func TestSourceAdvice(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		update bool
		err    error
		want   []string
	}{
		"create_not_found":   {false, &registry.Error{Kind: registry.ErrNotFound}, []string{dependencyAdvice}},
		"update_not_found":   {true, &registry.Error{Kind: registry.ErrNotFound}, []string{dependencyAdvice, destroyWithoutRefresh}},
		"create_unavailable": {false, &registry.Error{Kind: registry.ErrUnavailable}, nil},
		"update_unavailable": {true, &registry.Error{Kind: registry.ErrUnavailable}, []string{destroyWithoutRefresh}},
		"interrupted":        {true, &registry.Error{Kind: registry.ErrUnavailable, Err: context.Canceled}, nil},
	} {
		p := planBuilder{update: test.update, plan: imageCopyModel{Source: newReference("ghcr.io/acme/app:1")}}
		if got := p.sourceAdvice(test.err); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestSourceGoneAdvice checks the advice to plan again. It helps if the image is gone, but not
// if only a part of the image is missing.
func TestSourceGoneAdvice(t *testing.T) {
	t.Parallel()
	root, child := "sha256:"+zeros, "sha256:1"+zeros[1:]
	for name, test := range map[string]struct{ source, missing, want string }{
		"tag":    {"ghcr.io/acme/app:1", root, `the registry said that the tag "1" names this digest. Plan again`},
		"no_tag": {"ghcr.io/acme/app", root, `the tag "latest" names this digest`},
		"pinned": {"ghcr.io/acme/app@" + root, root, "The plan was made when the source still had it"},
		"layout": {"oci:app:1", root, "The plan was made when the source still had it"},
		"child":  {"ghcr.io/acme/app:1", child, ""},
	} {
		p := copyOperation{plan: &imageCopyModel{Source: newReference(test.source), SourceDigest: types.StringValue(root)}}
		got := strings.Join(p.sourceGoneAdvice(&registry.Error{Reference: test.missing, Kind: registry.ErrNotFound}), "\n")
		if !strings.Contains(got, test.want) || (got == "") != (test.want == "") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

var zeros = strings.Repeat("0", 64)

func TestEngineDetail_Canceled(t *testing.T) {
	t.Parallel()
	ended := &registry.Error{Op: "look up", Kind: registry.ErrUnavailable, Err: context.Canceled}
	const again = "Run it again."
	if got := engineDetail(ended, nil); !strings.HasSuffix(got, again) {
		t.Errorf("engineDetail() = %q", got)
	}
	if got := engineDetail(ended, []string{"Apply again to go on."}); strings.Contains(got, again) {
		t.Errorf("engineDetail() = %q", got)
	}
}

func TestCapitalize(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"": "", "it broke": "It broke.", "it broke.": "It broke.", "did you mean it?": "Did you mean it?",
		"localhost:5601/acme: cannot look": "localhost:5601/acme: cannot look.", "docker.io/library/alpine: cannot look": "docker.io/library/alpine: cannot look."} {
		if got := capitalize(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
