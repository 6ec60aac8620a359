package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
)

// verify compares the tags of a copy with the result that the copy reported.
func (s *soak) verify(ctx context.Context, e copyTask, report copier.Report, failed error) {
	if why := unexpectedError(failed); why != "" {
		s.complain("the copy of %s failed with %s: %v", e.source, why, failed)
	}
	if failed == nil && report.Digest != e.root {
		s.complain("the copy of %s reports %s and not %s", e.source, report.Digest, e.root)
	}
	if failed != nil {
		s.conns.settle()
	}
	for _, p := range e.to {
		found, err := s.inspect(ctx, p, nil)
		if err != nil {
			s.complain("after the copy of %s that %s: %v", e.source, outcome(failed), err)
		}
		written := failed == nil || slices.Contains(report.Tagged, p.tag)
		switch {
		case written && found != e.root:
			s.complain("%s:%s holds %s after a copy that reports to have written %s", p.repository, p.tag, digestOrNone(found), e.root)
		case written || found == p.current:
		case found == e.root && errors.Is(failed, registry.ErrUnavailable):
			s.count.unsure.Add(1) // The tag was written, but the response was lost.
		default:
			s.complain("%s:%s held %s before a copy that failed, and then %s: %v", p.repository, p.tag, digestOrNone(p.current), digestOrNone(found), failed)
		}
		switch {
		case failed == nil && e.referrers:
			p.attached = e.attached
		case found != p.current:
			p.attached = nil
		}
		p.current = found
		if err := s.checkReferrers(ctx, p, nil); err != nil {
			s.complain("after the copy of %s that %s: %v", e.source, outcome(failed), err)
		}
	}
}

func outcome(failed error) string {
	if failed == nil {
		return "succeeded"
	}
	return "failed (" + failed.Error() + ")"
}

// unexpectedError describes why the error of a copy is unexpected. It returns "" if connection
// failures, expired tokens or sweeps explain the error. Content that a tag refers to is never
// missing, because tags are locked while they are copied.
func unexpectedError(err error) string {
	e, ok := errors.AsType[*registry.Error](err)
	switch {
	case err == nil:
		return ""
	case !ok:
		return "an error that is none of the engine's"
	case e.Kind == nil:
		return "an error of no kind"
	case errors.Is(e.Kind, registry.ErrUnavailable) || errors.Is(e.Kind, registry.ErrMissingContent):
		return ""
	}
	return fmt.Sprintf("an error (%v) that nothing here explains", e.Kind)
}

// inspect returns the digest of a tag, and an error if the content of the tag is incomplete.
// read has the blobs that were already verified, see repository.checkComplete.
func (s *soak) inspect(ctx context.Context, p *target, read map[digest.Digest]bool) (found digest.Digest, err error) {
	err = s.destination.withoutSweep(ctx, func() error {
		r, err := s.destination.repository(ctx, p.repository)
		if err != nil {
			return err
		}
		if found, err = r.digest(ctx, p.tag); err != nil || found == "" {
			return err
		}
		if err := r.checkComplete(ctx, found, read); err != nil {
			return fmt.Errorf("%s:%s is not whole: %w", p.repository, p.tag, err)
		}
		return nil
	})
	return found, err
}

// checkReferrers returns an error unless the referrers copied with a tag are listed and
// complete. read has the blobs that were already verified.
func (s *soak) checkReferrers(ctx context.Context, p *target, read map[digest.Digest]bool) error {
	return s.destination.withoutSweep(ctx, func() error {
		r, err := s.destination.repository(ctx, p.repository)
		if err == nil {
			err = r.checkReferrers(ctx, p.attached, read)
		}
		if err != nil {
			return fmt.Errorf("not all that is attached to %s:%s is there: %w", p.repository, p.tag, err)
		}
		return nil
	})
}

func digestOrNone(d digest.Digest) string {
	if d == "" {
		return "nothing"
	}
	return d.String()
}
