package copier_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

const (
	// fairShare is the factor by which a healthy copy may exceed its share of time.
	fairShare = 3
	// minTimeAlone is the minimum value for the time of a copy alone, so that constant costs of
	// scheduling have no influence.
	minTimeAlone = time.Second
	// cancelGrace is how long a copy may take to end after it was canceled, because it first
	// cancels open uploads at the registry.
	cancelGrace = 2 * time.Second
)

// verdict is the result of checking a schedule.
type verdict struct {
	failures []string
	// healthy is the number of copies between healthy hosts that were not canceled. exposed is how
	// many of them shared a host with a copy from or to a faulty host.
	healthy, exposed uint64
	description      string
}

// check runs the schedule and checks its properties:
//
//   - A copy between healthy hosts succeeds within fairShare × its time alone × the number of
//     active copies that share one of its hosts, including itself.
//   - The error of a failed copy names its own faulty host, or another copy that it waited for.
//   - A canceled copy ends within cancelGrace.
//   - After a successful copy, the destination has the complete image.
//   - No host receives more concurrent requests than its limit.
func (s schedule) check(t *testing.T) (v verdict) {
	t.Helper()
	outcomes, violations := s.run(t)
	v.failures, v.description = violations, s.describe(outcomes)
	fail := func(format string, args ...any) { v.failures = append(v.failures, fmt.Sprintf(format, args...)) }
	for i, o := range outcomes {
		if o.err == nil && !o.exact {
			fail("copy %d succeeded but its destination is incomplete", i)
		}
		switch canceled := s.copies[i].cancel > 0 && o.took() >= s.copies[i].cancel; {
		case canceled:
			if o.err != nil && !errors.Is(o.err, context.Canceled) {
				fail("error of canceled copy %d = %v, want context.Canceled", i, o.err)
			}
			if after := o.took() - s.copies[i].cancel; after > cancelGrace {
				fail("copy %d ended %s after it was canceled: %v", i, after, o.err)
			}
		case s.isHealthy(i):
			v.healthy++
			if s.isExposed(i, outcomes) {
				v.exposed++
			}
			if o.err != nil {
				fail("copy %d between healthy hosts failed after %s: %v", i, o.took(), o.err)
			} else if fault := s.slowdown(t, i, outcomes); fault != "" {
				fail("%s", fault)
			}
		case o.err != nil && !s.isAttributed(i, o.err):
			fail("error of copy %d names neither its own faulty host nor another copy: %v", i, o.err)
		}
	}
	return v
}

// isHealthy reports whether both hosts of copy i are healthy.
func (s schedule) isHealthy(i int) bool {
	c := s.copies[i]
	return s.hosts[c.from].isHealthy() && s.hosts[c.to].isHealthy()
}

// isHealthy reports whether copies from and to the host succeed in reasonable time.
func (h hostSpec) isHealthy() bool { return h.fault.kind == faultNone || h.fault.kind == faultFlaky }

// slowdown returns a description of a healthy copy that exceeded its time limit, or "". It measures
// the time of the copy alone only if that can affect the result.
func (s schedule) slowdown(t *testing.T, i int, outcomes []outcome) string {
	t.Helper()
	took := outcomes[i].took()
	active := len(s.active(i, outcomes))
	if took <= fairShare*minTimeAlone*time.Duration(active) {
		return ""
	}
	outcomesAlone, _ := s.only(i).run(t)
	alone := max(outcomesAlone[0].took(), minTimeAlone)
	if bound := fairShare * alone * time.Duration(active); took > bound {
		return fmt.Sprintf("copy %d took %s, more than %s = %d × %s alone × %d active copies", i, took, bound, fairShare, alone, active)
	}
	return ""
}

// active returns the copies, including i, that share a host with copy i and ran at the same time.
func (s schedule) active(i int, outcomes []outcome) (active []int) {
	a := s.copies[i]
	for j, b := range s.copies {
		shared := a.from == b.from || a.from == b.to || a.to == b.from || a.to == b.to
		if shared && outcomes[j].began <= outcomes[i].ended && outcomes[j].ended >= outcomes[i].began {
			active = append(active, j)
		}
	}
	return active
}

// isExposed reports whether copy i shared a host with a copy from or to a faulty host.
func (s schedule) isExposed(i int, outcomes []outcome) bool {
	return slices.ContainsFunc(s.active(i, outcomes), func(j int) bool { return !s.isHealthy(j) })
}

// isAttributed reports whether an error of copy i names its own faulty host or another copy.
func (s schedule) isAttributed(i int, err error) bool {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		return false
	}
	host, _, _ := strings.Cut(e.Repository, "/")
	sides := map[registry.Side]int{registry.Source: s.copies[i].from, registry.Destination: s.copies[i].to}
	if at, ok := sides[e.Side]; ok && s.hosts[at].name == host && s.hosts[at].fault.kind != faultNone {
		return true
	}
	for _, at := range sides {
		if s.hosts[at].fault.kind != faultNone && strings.Contains(err.Error(), "longest wait was for "+s.hosts[at].name) {
			return true
		}
	}
	for j := range s.copies {
		if j != i && s.names(j, err.Error()) {
			return true
		}
	}
	return false
}

// names reports whether text contains the source or destination repository of copy i.
func (s schedule) names(i int, text string) bool {
	for _, reference := range []string{s.source(i), s.destination(i)} {
		if strings.Contains(text, reference[:strings.LastIndex(reference, ":")]) {
			return true
		}
	}
	return false
}

// describe returns a description of the schedule and the outcomes of its copies.
func (s schedule) describe(outcomes []outcome) string {
	var b strings.Builder
	b.WriteString(s.String())
	for i, o := range outcomes {
		result := "succeeded"
		if o.err != nil {
			result = o.err.Error()
		}
		fmt.Fprintf(&b, "  copy %d: %s to %s, longest wait %s for %q: %s\n", i, o.began.Round(time.Millisecond), o.ended.Round(time.Millisecond),
			o.report.LongestWait.Round(time.Millisecond), o.report.WaitedFor, result)
	}
	return b.String()
}
