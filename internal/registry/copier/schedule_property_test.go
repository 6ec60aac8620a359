package copier_test

import (
	"context"
	"errors"
	"fmt"
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

// check runs the schedule and returns everything that is wrong:
//
//   - A copy between healthy hosts succeeds, in fairShare × its time alone × the number
//     of active copies that share one of its hosts, itself included.
//   - A failed copy names a faulty host of its own, or another copy that it waited for.
//   - A canceled copy ends.
//   - What a successful copy reports is at the destination, byte for byte.
//   - No host sees more requests at a time than its limit.
func (s schedule) check(t *testing.T) (wrong []string, judged int) {
	t.Helper()
	outcomes, wrong := s.run(t)
	for i, o := range outcomes {
		canceled := s.copies[i].cancel > 0 && o.took() >= s.copies[i].cancel
		if o.err == nil && !o.exact {
			wrong = append(wrong, fmt.Sprintf("copy %d succeeded and its destination is not complete", i))
		}
		switch {
		case canceled:
			if o.err != nil && !errors.Is(o.err, context.Canceled) {
				wrong = append(wrong, fmt.Sprintf("copy %d was canceled, and its error is %v", i, o.err))
			}
			if after := o.took() - s.copies[i].cancel; after > cancelPatience {
				wrong = append(wrong, fmt.Sprintf("copy %d ended %s after it was canceled: %v", i, after, o.err))
			}
		case s.isHealthy(i):
			judged++
			if fault := s.tooSlow(t, i, outcomes); fault != "" {
				wrong = append(wrong, fault)
			}
		case o.err != nil:
			if fault := s.misattributed(i, o.err); fault != "" {
				wrong = append(wrong, fault)
			}
		}
	}
	return wrong, judged
}

// isHealthy reports whether both hosts of copy i are.
func (s schedule) isHealthy(i int) bool {
	c := s.copies[i]
	return s.hosts[c.from].fault.kind == faultNone && s.hosts[c.to].fault.kind == faultNone
}

// tooSlow describes a healthy copy that failed or took longer than its bound. Its time
// alone is only measured if it can make a difference.
func (s schedule) tooSlow(t *testing.T, i int, outcomes []outcome) string {
	t.Helper()
	o := outcomes[i]
	if o.err != nil {
		return fmt.Sprintf("copy %d is between healthy hosts and failed after %s: %v", i, o.took(), o.err)
	}
	active := s.active(i, outcomes)
	if o.took() <= fairShare*leastAlone*time.Duration(active) {
		return ""
	}
	outcomesAlone, _ := s.alone(i).run(t)
	alone := max(outcomesAlone[0].took(), leastAlone)
	if bound := fairShare * alone * time.Duration(active); o.took() > bound {
		return fmt.Sprintf("copy %d took %s, more than %s = %d × %s alone × %d active copies; longest wait %s for %q",
			i, o.took(), bound, fairShare, alone, active, o.report.LongestWait, o.report.WaitedFor)
	}
	return ""
}

// active returns how many copies that share a host with copy i ran while it ran.
func (s schedule) active(i int, outcomes []outcome) (n int) {
	for j := range s.copies {
		if s.shareHost(i, j) && outcomes[j].began <= outcomes[i].ended && outcomes[j].ended >= outcomes[i].began {
			n++
		}
	}
	return n
}

// shareHost reports whether two copies have a host in common.
func (s schedule) shareHost(i, j int) bool {
	a, b := s.copies[i], s.copies[j]
	return a.from == b.from || a.from == b.to || a.to == b.from || a.to == b.to
}

// misattributed describes an error of copy i that blames neither a faulty host of its
// own nor names another copy that shares a blob with it.
func (s schedule) misattributed(i int, err error) string {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		return fmt.Sprintf("copy %d failed with an error that is no *registry.Error: %v", i, err)
	}
	host, _, _ := strings.Cut(e.Repository, "/")
	blamed := map[registry.Side]int{registry.Source: s.copies[i].from, registry.Destination: s.copies[i].to}
	if at, ok := blamed[e.Side]; ok && s.hosts[at].name == host && s.hosts[at].fault.kind != faultNone {
		return ""
	}
	for j := range s.copies {
		if j != i && s.shareHost(i, j) && s.names(j, err.Error()) {
			return ""
		}
	}
	return fmt.Sprintf("copy %d blames neither its own faulty host nor another copy: %v", i, err)
}

// names reports whether a text names copy i by its source or its destination.
func (s schedule) names(i int, text string) bool {
	for _, reference := range []string{s.source(i), s.destination(i)} {
		if name := reference[:strings.LastIndex(reference, ":")]; strings.Contains(text+" ", name+" ") || strings.Contains(text, name+":") || strings.Contains(text, name+",") {
			return true
		}
	}
	return false
}
