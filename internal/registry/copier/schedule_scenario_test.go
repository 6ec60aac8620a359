package copier_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// ordinaryHost returns a healthy registry with the default limit.
func ordinaryHost(name string) hostSpec {
	return hostSpec{name: name, latency: 20 * time.Millisecond, rate: 500e3, shared: 8e6, limit: 16}
}

// slowHost returns a registry that transfers blobs at a rate in bytes per second.
func slowHost(name string, rate float64) hostSpec {
	h := ordinaryHost(name)
	h.fault = hostFault{kind: faultSlow, rate: rate}
	return h
}

// simLayers returns n layers of size bytes each.
func simLayers(seed string, n, size int) (layers []*simObject) {
	for i := range n {
		layers = append(layers, simLayer(fmt.Sprint(seed, " ", i), size))
	}
	return layers
}

// assertIsolated runs a schedule and fails the test unless it has the properties that check
// verifies. At least one copy must be between healthy hosts.
func assertIsolated(t *testing.T, s schedule) {
	t.Helper()
	v := s.check(t)
	for _, fault := range v.failures {
		t.Error(fault)
	}
	if v.healthy == 0 {
		t.Error("no copy of the schedule is between healthy hosts")
	}
	if t.Failed() {
		t.Logf("schedule:\n%s", v.description)
	}
}

func TestSchedule_SlowSourceSharesLayer(t *testing.T) {
	shared := simLayer("shared layer", 512<<10)
	assertIsolated(t, schedule{
		hosts: []hostSpec{slowHost("slow.test", 1), ordinaryHost("honest.test"), ordinaryHost("destination.test")},
		copies: []copySpec{
			{image: simImage("slow image", 0, shared), from: 0, to: 2, repository: "team/slow"},
			{image: simImage("honest image", 0, shared, simLayer("honest layer", 100<<10)), from: 1, to: 2, repository: "team/honest", start: time.Second},
		},
	})
}

func TestSchedule_SlowSourcesManyLayers(t *testing.T) {
	honest := simImage("honest among many", 0, simLayers("honest among many", 4, 300<<10)...)
	t.Run("two_sources_default_limit", func(t *testing.T) {
		assertIsolated(t, schedule{
			hosts: []hostSpec{slowHost("slow1.test", 1), slowHost("slow2.test", 1), ordinaryHost("honest.test"), ordinaryHost("destination.test")},
			copies: []copySpec{
				{image: simImage("many 1", 0, simLayers("many 1", 20, 40<<10)...), from: 0, to: 3, repository: "team/slow1"},
				{image: simImage("many 2", 0, simLayers("many 2", 20, 40<<10)...), from: 1, to: 3, repository: "team/slow2"},
				{image: honest, from: 2, to: 3, repository: "team/honest", start: 2 * time.Second},
			},
		})
	})
	t.Run("one_source_limit_4", func(t *testing.T) {
		destination := ordinaryHost("destination.test")
		destination.limit = 4
		assertIsolated(t, schedule{
			hosts: []hostSpec{slowHost("slow.test", 1), ordinaryHost("honest.test"), destination},
			copies: []copySpec{
				{image: simImage("many 1", 0, simLayers("many 1", 20, 40<<10)...), from: 0, to: 2, repository: "team/slow"},
				{image: honest, from: 1, to: 2, repository: "team/honest", start: 2 * time.Second},
			},
		})
	})
}

func TestSchedule_SlowDestinationSharesSource(t *testing.T) {
	assertIsolated(t, schedule{
		hosts: []hostSpec{ordinaryHost("source.test"), slowHost("slow.test", 20e3), ordinaryHost("honest.test")},
		copies: []copySpec{
			{image: simImage("to the slow one", 0, simLayers("to the slow one", 20, 1<<20)...), from: 0, to: 1, repository: "team/slow"},
			{image: simImage("to the honest one", 0, simLayers("to the honest one", 4, 300<<10)...), from: 0, to: 2, repository: "team/honest", start: 2 * time.Second},
		},
	})
}

func TestSchedule_LargeManifestsAndSlowLayer(t *testing.T) {
	assertIsolated(t, schedule{
		hosts: []hostSpec{ordinaryHost("source.test"), slowHost("slow.test", 5e3), ordinaryHost("honest.test")},
		copies: []copySpec{
			{image: simNested("large to the slow one", simLayer("slow layer", 2<<20)), from: 0, to: 1, repository: "team/slow"},
			{image: simNested("large to the honest one", simLayer("honest layer of large", 100<<10)), from: 0, to: 2, repository: "team/honest", start: 10 * time.Second},
		},
	})
}

// TestSchedule_SlowSourceWaitsForSlot verifies that a copy does not wait for the upload of
// another copy that is last in the queue for a slot because its source is slow.
func TestSchedule_SlowSourceWaitsForSlot(t *testing.T) {
	shared := simLayer("layer of a slow and a fast source", 2<<20)
	destination := ordinaryHost("destination.test")
	destination.limit = 4
	s := schedule{
		hosts: []hostSpec{slowHost("slow.test", 50e3), ordinaryHost("honest.test"), destination, ordinaryHost("bulk.test")},
		copies: []copySpec{
			{image: simImage("slow a", 0, shared), from: 0, to: 2, repository: "team/a"},
			{image: simImage("fast b", 0, shared), from: 1, to: 2, repository: "team/b", start: 12 * time.Second},
		},
	}
	for i := range 3 {
		seed := fmt.Sprint("bulk beside a slow source ", i)
		s.copies = append(s.copies, copySpec{image: simImage(seed, 0, simLayers(seed, 12, 4<<20)...), from: 3, to: 2, repository: fmt.Sprint("team/bulk", i), start: 4 * time.Second})
	}
	assertIsolated(t, s)
}

// TestSchedule_SourcesAboveMinRate verifies that slow transfers do not occupy all slots until
// they end, even if they are slightly faster than the rate below which a transfer yields its
// slot.
func TestSchedule_SourcesAboveMinRate(t *testing.T) {
	for name, rate := range map[string]float64{"above_min_rate": 74e3, "below_linger_rate": 350e3} {
		t.Run(name, func(t *testing.T) { checkSourcesOfRate(t, rate) })
	}
}

// checkSourcesOfRate checks a copy beside uploads that fill the slots of its destination, and whose
// sources send the given number of bytes per second.
func checkSourcesOfRate(t *testing.T, rate float64) {
	t.Helper()
	destination := ordinaryHost("destination.test")
	destination.limit = 4
	s := schedule{hosts: []hostSpec{ordinaryHost("honest.test"), destination}}
	s.copies = append(s.copies, copySpec{image: simImage("beside lingering", 0, simLayer("beside lingering", 1<<20)), from: 0, to: 1, repository: "team/honest", start: 12 * time.Second})
	for i := range 3 {
		seed := fmt.Sprint("lingers ", i)
		s.hosts = append(s.hosts, slowHost(fmt.Sprintf("lingers%d.test", i), rate))
		s.copies = append(s.copies, copySpec{image: simImage(seed, 0, simLayer(seed, 60<<20)), from: 2 + i, to: 1, repository: fmt.Sprint("team/lingers", i), timeout: time.Hour})
	}
	assertIsolated(t, s)
}

// TestSchedule_AlternatingSlowUploads verifies that uploads from two slow sources alternate if
// they share the last slot for transfers. Their turns get longer, so that both complete.
func TestSchedule_AlternatingSlowUploads(t *testing.T) {
	destination := ordinaryHost("destination.test")
	destination.limit = 2
	s := schedule{hosts: []hostSpec{slowHost("slow1.test", 30e3), slowHost("slow2.test", 30e3), destination}}
	for i := range 2 {
		image := simImage(fmt.Sprint("takes turns ", i), 0, simLayer(fmt.Sprint("takes turns ", i), 20<<20))
		s.copies = append(s.copies, copySpec{image: image, from: i, to: 2, repository: fmt.Sprint("team/turns", i), timeout: 2 * time.Hour})
	}
	outcomes, violations := s.run(t)
	for _, violation := range violations {
		t.Error(violation)
	}
	for i, o := range outcomes {
		if o.err != nil {
			t.Errorf("copy %d failed after %s: %v", i, o.took(), o.err)
		}
	}
}

func TestSchedule_TimeoutNamesOtherCopy(t *testing.T) {
	shared := simLayer("large shared layer", 4<<20)
	s := schedule{
		hosts: []hostSpec{ordinaryHost("first.test"), ordinaryHost("second.test"), ordinaryHost("destination.test")},
		copies: []copySpec{
			{image: simImage("first image", 0, shared), from: 0, to: 2, repository: "team/first"},
			{image: simImage("second image", 0, shared), from: 1, to: 2, repository: "team/second", start: time.Second, timeout: 2 * time.Second},
		},
	}
	outcomes, violations := s.run(t)
	for _, violation := range violations {
		t.Error(violation)
	}
	if err := outcomes[0].err; err != nil {
		t.Errorf("first copy failed: %v", err)
	}
	switch err := outcomes[1].err; {
	case err == nil:
		t.Error("second copy succeeded before its layer could be uploaded")
	case !s.names(0, err.Error()):
		t.Errorf("error of the waiting copy does not name the other copy: %v", err)
	case strings.Contains(err.Error(), "second.test"):
		t.Errorf("error of the waiting copy names its own source: %v", err)
	}
}

func TestSchedule_CyclicCopiesAtMinLimit(t *testing.T) {
	for _, hosts := range []int{1, 2, 3} {
		t.Run(fmt.Sprintf("%d_hosts", hosts), func(t *testing.T) {
			var s schedule
			for i := range hosts {
				h := ordinaryHost(fmt.Sprintf("host%d.test", i))
				h.limit = 2
				s.hosts = append(s.hosts, h)
			}
			for i := range 6 {
				seed := fmt.Sprint("circle ", i)
				s.copies = append(s.copies, copySpec{image: simImage(seed, 0, simLayers(seed, 6, 200<<10)...), from: i % hosts, to: (i + 1) % hosts, repository: fmt.Sprint("team/", i)})
			}
			assertIsolated(t, s)
		})
	}
}

func TestSchedule_CanceledCopyReleasesBlob(t *testing.T) {
	shared := simLayer("shared layer of a canceled copy", 512<<10)
	assertIsolated(t, schedule{
		hosts: []hostSpec{slowHost("slow.test", 20e3), ordinaryHost("honest.test"), ordinaryHost("destination.test")},
		copies: []copySpec{
			{image: simImage("canceled image", 0, shared), from: 0, to: 2, repository: "team/canceled", cancel: 2 * time.Second},
			{image: simImage("other image", 0, shared), from: 1, to: 2, repository: "team/other", start: time.Second},
		},
	})
}

// Uploads of a source that becomes slow after a fast start take turns, as those of a source that
// is slow from the first byte do, instead of evicting each other over and over.
func TestSchedule_SlowAfterFastStart(t *testing.T) {
	source := slowHost("shaped.test", 50e3)
	source.fault.first = 256 << 10
	destination := ordinaryHost("destination.test")
	destination.limit = 4
	s := schedule{hosts: []hostSpec{source, destination}}
	for i := range 6 {
		seed := fmt.Sprint("fast start ", i)
		s.copies = append(s.copies, copySpec{image: simImage(seed, 0, simLayer(seed, 1200<<10)), to: 1, repository: fmt.Sprint("team/shaped", i), timeout: 10 * time.Minute})
	}
	outcomes, violations := s.run(t)
	for _, violation := range violations {
		t.Error(violation)
	}
	for i, o := range outcomes {
		if o.err != nil {
			t.Errorf("copy %d failed after %s: %v", i, o.took(), o.err)
		}
	}
}
