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

// judge holds what became of an errand's tags against what the copy said.
func (s *soak) judge(ctx context.Context, e errand, report copier.Report, failed error) {
	if why := unexplained(failed); why != "" {
		s.broken("the copy of %s failed with %s: %v", e.source, why, failed)
	}
	if failed == nil && report.Digest != e.root {
		s.broken("the copy of %s reports %s and not %s", e.source, report.Digest, e.root)
	}
	if failed != nil {
		s.wires.settle()
	}
	for _, p := range e.to {
		found, err := s.inspect(ctx, p, nil)
		if err != nil {
			s.broken("after the copy of %s that %s: %v", e.source, outcome(failed), err)
		}
		written := failed == nil || slices.Contains(report.Tagged, p.tag)
		switch {
		case written && found != e.root:
			s.broken("%s:%s holds %s after a copy that reports to have written %s", p.repository, p.tag, named(found), e.root)
		case written || found == p.held:
		case found == e.root && errors.Is(failed, registry.ErrUnavailable):
			s.count.unsure.Add(1) // it was written, and the answer did not arrive
		default:
			s.broken("%s:%s held %s before a copy that failed, and then %s: %v", p.repository, p.tag, named(p.held), named(found), failed)
		}
		switch {
		case failed == nil && e.along:
			p.attached = e.attached
		case found != p.held:
			p.attached = nil
		}
		p.held = found
		if err := s.accompanied(ctx, p, nil); err != nil {
			s.broken("after the copy of %s that %s: %v", e.source, outcome(failed), err)
		}
	}
}

func outcome(failed error) string {
	if failed == nil {
		return "succeeded"
	}
	return "failed (" + failed.Error() + ")"
}

// unexplained says what is wrong with the error of a copy; "" where it is one
// that connections, tokens and sweeps explain. What a tag names is never gone:
// it is held fast as long as it is copied.
func unexplained(err error) string {
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

// inspect says what a tag holds, and whether that is whole; read is for that.
func (s *soak) inspect(ctx context.Context, p *place, read map[digest.Digest]bool) (found digest.Digest, err error) {
	err = s.destination.holding(ctx, func() error {
		r, err := s.destination.repository(ctx, p.repository)
		if err != nil {
			return err
		}
		if found, err = r.digest(ctx, p.tag); err != nil || found == "" {
			return err
		}
		if err := r.whole(ctx, found, read); err != nil {
			return fmt.Errorf("%s:%s is not whole: %w", p.repository, p.tag, err)
		}
		return nil
	})
	return found, err
}

// accompanied says whether what came along with what a tag holds is listed and
// whole; read is for that.
func (s *soak) accompanied(ctx context.Context, p *place, read map[digest.Digest]bool) error {
	return s.destination.holding(ctx, func() error {
		r, err := s.destination.repository(ctx, p.repository)
		if err == nil {
			err = r.accompanied(ctx, p.attached, read)
		}
		if err != nil {
			return fmt.Errorf("not all that is attached to %s:%s is there: %w", p.repository, p.tag, err)
		}
		return nil
	})
}

func named(d digest.Digest) string {
	if d == "" {
		return "nothing"
	}
	return d.String()
}
