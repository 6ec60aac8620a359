package provider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

func TestTitleSaysWhatFailed(t *testing.T) {
	t.Parallel()
	const otherwise = "It did not succeed"
	unknown := &imageCopyResource{engine: &engine{unknown: []unknownSetting{{name: "registries"}}}}
	_, undecided := unknown.refreshSource(t.Context(), imageCopyModel{Source: newReference("ghcr.io/acme/app:1")}, newRecord())
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"gone":           {&registry.Error{Kind: registry.ErrNotFound}, "The source image does not exist"},
		"wrapped":        {fmt.Errorf("so: %w", &registry.Error{Kind: registry.ErrUnauthorized}), "The source registry refused the request"},
		"not there":      {&registry.Error{Kind: registry.ErrUnavailable}, "The source registry is not available"},
		"not understood": {&registry.Error{Kind: registry.ErrProtocol}, otherwise},
		"interrupted":    {&registry.Error{Kind: registry.ErrUnavailable, Err: context.Canceled}, otherwise},
		"out of time":    {&registry.Error{Kind: registry.ErrRateLimited, Err: context.DeadlineExceeded}, otherwise},
		"not asked":      {undecided, otherwise},
	} {
		if got := title("source ", test.err, otherwise); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestNotYet(t *testing.T) {
	t.Parallel()
	dial := func(err error) error { return &net.OpError{Op: "dial", Err: err} }
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"no such image":      {&registry.Error{Kind: registry.ErrNotFound}, true},
		"nothing listens":    {&registry.Error{Kind: registry.ErrUnavailable, Err: dial(errors.New("connection refused"))}, true},
		"nobody knows it":    {&registry.Error{Kind: registry.ErrUnavailable, Err: &net.DNSError{IsNotFound: true}}, true},
		"DNS does not work":  {&registry.Error{Kind: registry.ErrUnavailable, Err: &net.DNSError{IsTemporary: true}}, false},
		"it does not answer": {&registry.Error{Kind: registry.ErrUnavailable, Err: dial(context.DeadlineExceeded)}, false},
		"refused":            {&registry.Error{Kind: registry.ErrUnauthorized}, false},
		"TLS":                {&registry.Error{Kind: registry.ErrProtocol, Err: &net.OpError{Op: "remote error", Err: errors.New("bad certificate")}}, false},
	} {
		if got := notYet(test.err); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestSentence(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"": "", "it broke": "It broke.", "it broke.": "It broke.", "did you mean it?": "Did you mean it?",
		"localhost:5601/acme: cannot look": "localhost:5601/acme: cannot look.", "docker.io/library/alpine: cannot look": "docker.io/library/alpine: cannot look."} {
		if got := sentence(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
