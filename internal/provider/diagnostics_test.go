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
	const otherwise = "It did not succeed"
	unknown := &imageCopyResource{engine: &engine{unknown: []unknownSetting{{name: "registries"}}}}
	_, _, undecided := unknown.refreshSource(t.Context(), imageCopyModel{Source: newReference("ghcr.io/acme/app:1")}, newPrivateState())
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"gone":           {&registry.Error{Kind: registry.ErrNotFound}, "The source image does not exist"},
		"wrapped":        {fmt.Errorf("so: %w", &registry.Error{Kind: registry.ErrUnauthorized}), "The source registry refused the request"},
		"not there":      {&registry.Error{Kind: registry.ErrUnavailable}, "The source registry is not available"},
		"no platform":    {&registry.Error{Op: "find the platform linux/s390x in", Kind: registry.ErrNotFound}, "The source image does not have the platform"},
		"no token":       {&registry.Error{Op: "fetch a token from", Kind: registry.ErrUnavailable}, "The source registry's token service is not available"},
		"not understood": {&registry.Error{Kind: registry.ErrProtocol}, otherwise},
		"interrupted":    {&registry.Error{Kind: registry.ErrUnavailable, Err: context.Canceled}, otherwise},
		"out of time":    {&registry.Error{Kind: registry.ErrRateLimited, Err: context.DeadlineExceeded}, otherwise},
		"not asked":      {undecided, otherwise},
	} {
		if got := errorSummary("source ", test.err, otherwise); got != test.want {
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
		"no such image":     {&registry.Error{Kind: registry.ErrNotFound}, true},
		"no layout":         {&registry.Error{Kind: registry.ErrInvalidLayout}, false},
		"no such platform":  {&registry.Error{Op: "find the platform linux/s390x in", Kind: registry.ErrNotFound}, false},
		"nothing listens":   {&registry.Error{Kind: registry.ErrUnavailable, Err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}}, false},
		"nobody knows it":   {&registry.Error{Kind: registry.ErrUnavailable, Err: &net.DNSError{IsNotFound: true}}, false},
		"a part is missing": {&registry.Error{Kind: registry.ErrMissingContent}, false},
		"refused":           {&registry.Error{Kind: registry.ErrUnauthorized}, false},
	} {
		if got := mayBeCreatedLater(test.err); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// A plan says of a terraform destroy what only somebody who has something to
// destroy needs.
func TestSourceAdvice(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		update bool
		err    error
		want   []string
	}{
		"a new copy of nothing":    {false, &registry.Error{Kind: registry.ErrNotFound}, []string{dependencyAdvice}},
		"another source":           {true, &registry.Error{Kind: registry.ErrNotFound}, []string{dependencyAdvice, destroyWithoutRefresh}},
		"a registry that is down":  {false, &registry.Error{Kind: registry.ErrUnavailable}, nil},
		"down, with another image": {true, &registry.Error{Kind: registry.ErrUnavailable}, []string{destroyWithoutRefresh}},
		"interrupted":              {true, &registry.Error{Kind: registry.ErrUnavailable, Err: context.Canceled}, nil},
	} {
		p := planBuilder{update: test.update, plan: imageCopyModel{Source: newReference("ghcr.io/acme/app:1")}}
		if got := p.sourceAdvice(test.err); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Another plan helps where the image is gone, and not where a part of it is.
func TestSourceGoneAdvice(t *testing.T) {
	t.Parallel()
	root, child := "sha256:"+zeros, "sha256:1"+zeros[1:]
	for name, test := range map[string]struct{ source, missing, want string }{
		"the tag's digest":  {"ghcr.io/acme/app:1", root, `the registry said that the tag "1" names this digest. Plan again`},
		"without a tag":     {"ghcr.io/acme/app", root, `the tag "latest" names this digest`},
		"a pinned digest":   {"ghcr.io/acme/app@" + root, root, "The plan was made when the source still had it"},
		"a layout's digest": {"oci:app:1", root, "The plan was made when the source still had it"},
		"a part of it":      {"ghcr.io/acme/app:1", child, ""},
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
		t.Errorf("it says %q", got)
	}
	if got := engineDetail(ended, []string{"Apply again to go on."}); strings.Contains(got, again) {
		t.Errorf("it says %q", got)
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
