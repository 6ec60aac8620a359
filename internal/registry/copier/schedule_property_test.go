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
	// fairShare is how many times as long as its share a healthy copy may take.
	fairShare = 3
	// leastAlone is what a copy alone counts for at least, so that constant costs of
	// scheduling do not decide.
	leastAlone = time.Second
	// cancelPatience is how long a copy may take to end once it was canceled: an open
	// upload is canceled at the registry first.
	cancelPatience = 2 * time.Second
)

// verdict is the result of checking a schedule.
type verdict struct {
	wrong []string
	// healthy is the number of copies between healthy hosts that were not canceled,
	// and endangered how many of them shared a host with a copy of a faulty one.
	healthy, endangered uint64
	description         string
}

// check runs the schedule and judges it:
//
//   - A copy between healthy hosts succeeds, in fairShare × its time alone × the number
//     of active copies that share one of its hosts, itself included.
//   - A failed copy names a faulty host of its own, or another copy that it waited for.
//   - A canceled copy ends.
//   - What a successful copy reports is at the destination, byte for byte.
//   - No host sees more requests at a time than its limit.
func (s schedule) check(t *testing.T) (v verdict) {
	t.Helper()
	outcomes, violations := s.run(t)
	v.wrong, v.description = violations, s.describe(outcomes)
	fail := func(format string, args ...any) { v.wrong = append(v.wrong, fmt.Sprintf(format, args...)) }
	for i, o := range outcomes {
		if o.err == nil && !o.exact {
			fail("copy %d succeeded and its destination is not complete", i)
		}
		switch canceled := s.copies[i].cancel > 0 && o.took() >= s.copies[i].cancel; {
		case canceled:
			if o.err != nil && !errors.Is(o.err, context.Canceled) {
				fail("copy %d was canceled, and its error is %v", i, o.err)
			}
			if after := o.took() - s.copies[i].cancel; after > cancelPatience {
				fail("copy %d ended %s after it was canceled: %v", i, after, o.err)
			}
		case s.isHealthy(i):
			v.healthy++
			if s.isEndangered(i, outcomes) {
				v.endangered++
			}
			if o.err != nil {
				fail("copy %d is between healthy hosts and failed after %s: %v", i, o.took(), o.err)
			} else if fault := s.tooSlow(t, i, outcomes); fault != "" {
				fail("%s", fault)
			}
		case o.err != nil && !s.isAttributed(i, o.err):
			fail("copy %d blames neither its own faulty host nor another copy: %v", i, o.err)
		}
	}
	return v
}

// isHealthy reports whether both hosts of copy i are.
func (s schedule) isHealthy(i int) bool {
	c := s.copies[i]
	return s.hosts[c.from].fault.kind == faultNone && s.hosts[c.to].fault.kind == faultNone
}

// tooSlow describes a healthy copy that took longer than its bound, "" if it did not.
// Its time alone is only measured if it can make a difference.
func (s schedule) tooSlow(t *testing.T, i int, outcomes []outcome) string {
	t.Helper()
	took := outcomes[i].took()
	active := len(s.active(i, outcomes))
	if took <= fairShare*leastAlone*time.Duration(active) {
		return ""
	}
	outcomesAlone, _ := s.alone(i).run(t)
	alone := max(outcomesAlone[0].took(), leastAlone)
	if bound := fairShare * alone * time.Duration(active); took > bound {
		return fmt.Sprintf("copy %d took %s, more than %s = %d × %s alone × %d active copies", i, took, bound, fairShare, alone, active)
	}
	return ""
}

// active returns the copies that share a host with copy i and ran while it ran,
// itself included.
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

// isEndangered reports whether copy i shared a host with the copy of a faulty one.
func (s schedule) isEndangered(i int, outcomes []outcome) bool {
	return slices.ContainsFunc(s.active(i, outcomes), func(j int) bool { return !s.isHealthy(j) })
}

// isAttributed reports whether an error of copy i blames a faulty host of its own, or
// names another copy.
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

// names reports whether a text names copy i by the repository of its source or its
// destination.
func (s schedule) names(i int, text string) bool {
	for _, reference := range []string{s.source(i), s.destination(i)} {
		if strings.Contains(text, reference[:strings.LastIndex(reference, ":")]) {
			return true
		}
	}
	return false
}

// describe is the schedule with the outcomes of its copies.
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
