package main

import (
	"errors"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
)

// The result that a copy reports is compared with the tag, which does not exist before the
// copy.
func TestVerify_ReportedResult(t *testing.T) {
	untagged := &registry.Error{Kind: registry.ErrUnavailable}
	s := idleSoak(t)
	targets := s.targets
	for name, test := range map[string]struct {
		written   bool // the tag refers to the image
		tagged    bool // the copy reports the tag as written
		referrers bool // referrers were requested but not copied
		failed    error
		want      string
	}{
		"success_written":           {true, true, false, nil, ""},
		"success_not_written":       {false, true, false, nil, "holds nothing after a copy"},
		"success_without_referrers": {true, true, true, nil, "v1 that succeeded: not all that is attached to prod-"},
		"failure_without_referrers": {false, false, true, untagged, ""},
		"failure_not_written":       {false, false, false, untagged, ""},
		"failure_reports_written":   {false, true, false, untagged, "holds nothing after a copy"},
		"failure_response_lost":     {true, false, false, untagged, ""},
		"rejected_written":          {true, false, false, &registry.Error{Kind: registry.ErrMissingContent}, "held nothing before a copy that failed"},
		"foreign_error":             {false, false, false, errors.New("surprise"), "none of the engine's"},
		"error_without_kind":        {false, false, false, &registry.Error{}, "of no kind"},
		"unexpected_kind":           {false, false, false, &registry.Error{Kind: registry.ErrMismatch}, "nothing here explains"},
	} {
		t.Run(name, func(t *testing.T) {
			p, i := targets[0], s.images[1]
			targets, s.complaints = targets[1:], nil
			if test.written {
				pushTagged(t, s, i, p)
			}
			e := copyTask{to: []*target{p}, referrers: test.referrers}
			e.setSource(s.source.host, i)
			report := copier.Report{Digest: i.root}
			if test.tagged {
				report.Tagged = []string{p.tag}
			}
			s.verify(t.Context(), e, report, test.failed)
			wantComplaint(t, s, test.want)
		})
	}
}
