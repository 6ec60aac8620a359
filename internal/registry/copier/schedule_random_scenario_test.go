package copier_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestSchedule_Random checks the isolation of copies with random schedules. A schedule has one to
// six registries, some of them slow or unresponsive, and two to eight copies between them in all
// directions. The copies share images, layers and hosts, start at different times, and some are
// canceled.
//
// SCHEDULES=20000 runs that number of schedules. SCHEDULE_SEED=17 runs only this schedule and
// describes it. A seed always produces the same schedule, but goroutines and the jitter of retries
// may interleave differently; use -count=50 to repeat it.
func TestSchedule_Random(t *testing.T) {
	if seed, ok := numberFromEnvironment(t, "SCHEDULE_SEED"); ok {
		v := randomSchedule(seed).check(t)
		t.Logf("schedule %d:\n%s", seed, v.description)
		for _, fault := range v.failures {
			t.Error(fault)
		}
		return
	}
	schedules, ok := numberFromEnvironment(t, "SCHEDULES")
	if !ok {
		schedules = defaultSchedules()
	}
	var seeds, failed, healthy, endangered atomic.Uint64
	work := func(t *testing.T) {
		t.Parallel()
		for seed := seeds.Add(1); seed <= schedules && failed.Load() < maxFailures; seed = seeds.Add(1) {
			v := randomSchedule(seed).check(t)
			healthy.Add(v.healthy)
			endangered.Add(v.exposed)
			if len(v.failures) > 0 {
				failed.Add(1)
				t.Errorf("SCHEDULE_SEED=%d:\n%s\n%s", seed, strings.Join(v.failures, "\n"), v.description)
			}
		}
	}
	t.Run("workers", func(t *testing.T) {
		for worker := range scheduleWorkers {
			t.Run(strconv.Itoa(worker), work)
		}
	})
	ran := min(seeds.Load(), schedules)
	t.Logf("%d of %d schedules failed; %d copies between healthy hosts, %d of which shared one with a copy from or to a faulty host",
		failed.Load(), ran, healthy.Load(), endangered.Load())
	if endangered.Load() < ran/2 {
		t.Errorf("%d healthy copies in %d schedules shared a host with a copy from or to a faulty host, want at least half as many as schedules", endangered.Load(), ran)
	}
}

const (
	scheduleWorkers = 4
	// maxFailures is the number of failed schedules after which the test stops.
	maxFailures = 20
)

// defaultSchedules returns the default number of random schedules. It is lower with the race
// detector, which makes each schedule ten times as expensive.
func defaultSchedules() uint64 {
	info, _ := debug.ReadBuildInfo()
	if info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return 500
	}
	return 5000
}

// numberFromEnvironment returns the number in an environment variable. ok is false if it is not
// set.
func numberFromEnvironment(t *testing.T, name string) (n uint64, ok bool) {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n, true
}

// randomSchedule returns the schedule for a seed. Most copies are between healthy hosts, and copies
// from or to faulty hosts often start first.
func randomSchedule(seed uint64) (s schedule) {
	random := rand.New(rand.NewChaCha8(digestKey(fmt.Sprint("schedule ", seed))))
	healthyHosts := 1 + random.IntN(3)
	faultyHosts := min(random.IntN(5), 3)
	for i := range healthyHosts + faultyHosts {
		h := randomHost(random, i)
		switch flaky := random.IntN(3) == 0; {
		case i >= healthyHosts:
			h.fault = randomFault(random)
		case flaky:
			h.fault = hostFault{kind: faultFlaky, first: int(logUniform(random, 1, 256<<10))}
		}
		s.hosts = append(s.hosts, h)
	}
	anyHost := func() int { return random.IntN(len(s.hosts)) }
	lastHost := func() int { return len(s.hosts) - 1 - random.IntN(max(faultyHosts, 1)) }
	healthyHost := func() int { return random.IntN(healthyHosts) }
	for i := range 2 + random.IntN(7) {
		c := copySpec{image: randomImage(random, s.copies), repository: fmt.Sprint("team/", i)}
		late := 2 // how many of five copies start later
		switch random.IntN(10) {
		case 0:
			c.from, c.to = anyHost(), anyHost()
		case 1, 2:
			c.from, c.to = lastHost(), healthyHost()
		case 3, 4:
			c.from, c.to = healthyHost(), lastHost()
		default:
			c.from, c.to, late = healthyHost(), healthyHost(), 4
		}
		if i > 0 && random.IntN(6) == 0 {
			c.repository = s.copies[i-1].repository
		}
		if random.IntN(5) < late {
			c.start = time.Duration(random.Int64N(int64(4 * time.Second)))
		}
		if random.IntN(5) == 0 {
			c.cancel = 1 + time.Duration(random.Int64N(int64(8*time.Second)))
		}
		s.copies = append(s.copies, c)
	}
	return s
}

// randomHost returns a healthy host. Each of its connections transfers at least 120 KB/s,
// regardless of their number.
func randomHost(random *rand.Rand, i int) hostSpec {
	h := hostSpec{
		name:    fmt.Sprintf("host%d.test", i),
		latency: time.Duration(logUniform(random, 1, 100) * float64(time.Millisecond)),
		rate:    logUniform(random, 160e3, 480e3),
		limit:   int(logUniform(random, 2, 17)),
	}
	h.shared = h.rate * float64(h.limit) * (0.75 + random.Float64()/4)
	return h
}

// randomFault returns a fault. Each connection of a slow host transfers at most 20 KB/s.
func randomFault(random *rand.Rand) hostFault {
	first := 0
	if random.IntN(3) == 0 {
		first = int(logUniform(random, 1, 128<<10))
	}
	switch random.IntN(10) {
	case 0:
		return hostFault{kind: faultStalling, first: first}
	case 1:
		return hostFault{kind: faultSilent}
	case 2:
		return hostFault{kind: faultRefusing}
	default:
		return hostFault{kind: faultSlow, first: first, rate: logUniform(random, 1, 20e3)}
	}
}

// randomImage returns an image, which is often that of another copy.
func randomImage(random *rand.Rand, others []copySpec) *simObject {
	images := simImages()
	switch kind := random.IntN(40); {
	case kind == 0:
		return images.large[random.IntN(len(images.large))]
	case kind < 8:
		return images.wide[random.IntN(len(images.wide))]
	case kind < 22 && len(others) > 0:
		return others[random.IntN(len(others))].image
	default:
		return images.ordinary[random.IntN(len(images.ordinary))]
	}
}
