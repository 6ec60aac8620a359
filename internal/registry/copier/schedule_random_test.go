package copier_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// defaultSchedules is how many random schedules a run of the tests has.
// SCHEDULES=20000 runs as many, and SCHEDULE_SEED=17 runs that one and describes it.
const defaultSchedules = 5000

// TestSchedule_Random checks the isolation of copies with random schedules: two to six
// registries, some of them slow or dead, and two to eight copies between them in all
// directions, which share images, layers and hosts, start at different times and are
// partly canceled.
func TestSchedule_Random(t *testing.T) {
	if only := os.Getenv("SCHEDULE_SEED"); only != "" {
		seed, err := strconv.ParseUint(only, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s := randomSchedule(seed)
		wrong, _ := s.check(t)
		t.Logf("schedule %d:\n%s", seed, s)
		for _, fault := range wrong {
			t.Error(fault)
		}
		return
	}
	schedules := uint64(defaultSchedules)
	if n := os.Getenv("SCHEDULES"); n != "" {
		var err error
		if schedules, err = strconv.ParseUint(n, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	var next, failed, judged atomic.Uint64
	simImages()
	t.Run("workers", func(t *testing.T) {
		for worker := range scheduleWorkers {
			t.Run(strconv.Itoa(worker), func(t *testing.T) {
				t.Parallel()
				for seed := next.Add(1); seed <= schedules && failed.Load() < maxFailures; seed = next.Add(1) {
					s := randomSchedule(seed)
					wrong, n := s.check(t)
					judged.Add(uint64(n))
					if len(wrong) > 0 {
						failed.Add(1)
						t.Errorf("SCHEDULE_SEED=%d:\n%s\n%s", seed, strings.Join(wrong, "\n"), s)
					}
				}
			})
		}
	})
	ran := min(next.Load(), schedules)
	t.Logf("%d of %d schedules failed; %d copies between healthy hosts", failed.Load(), ran, judged.Load())
	if judged.Load() < ran {
		t.Errorf("%d schedules had only %d copies between healthy hosts: they show little", ran, judged.Load())
	}
}

const (
	scheduleWorkers = 4
	// maxFailures is how many schedules may fail until the rest is not run.
	maxFailures = 20
)

// randomSchedule is the schedule of a seed.
func randomSchedule(seed uint64) (s schedule) {
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range 2 + random.IntN(5) {
		h := randomHost(random, i)
		if i < 2 && random.IntN(10) > 0 {
			h.fault = hostFault{}
		}
		s.hosts = append(s.hosts, h)
	}
	for i := range 2 + random.IntN(7) {
		c := copySpec{
			image: randomImage(random, s.copies), repository: fmt.Sprint("team/", i),
			from: random.IntN(len(s.hosts)), to: random.IntN(len(s.hosts)),
		}
		if random.IntN(8) == 0 {
			c.to = c.from
		}
		if i > 0 && random.IntN(6) == 0 {
			c.repository = s.copies[i-1].repository
		}
		if random.IntN(5) < 2 {
			c.start = time.Duration(random.Int64N(int64(3 * time.Second)))
		}
		if random.IntN(5) == 0 {
			c.cancel = 1 + time.Duration(random.Int64N(int64(8*time.Second)))
		}
		s.copies = append(s.copies, c)
	}
	return s
}

// randomHost returns a host. Each connection of a healthy one moves 120 KB/s and more,
// however many there are, and of a slow one 20 KB/s and less.
func randomHost(random *rand.Rand, i int) hostSpec {
	h := hostSpec{
		name:    fmt.Sprintf("host%d.test", i),
		latency: time.Duration(logUniform(random, 1, 100) * float64(time.Millisecond)),
		rate:    logUniform(random, 160e3, 480e3),
		limit:   2 + random.IntN(15),
	}
	h.shared = h.rate * float64(h.limit) * (0.75 + random.Float64()/4)
	first := 0
	if random.IntN(3) == 0 {
		first = int(logUniform(random, 1, 64<<10))
	}
	switch kind := random.IntN(20); {
	case kind < 7:
		h.fault = hostFault{kind: faultSlow, first: first, rate: logUniform(random, 1, 20e3)}
	case kind < 8:
		h.fault = hostFault{kind: faultStalling, first: first}
	case kind < 9:
		h.fault = hostFault{kind: faultSilent}
	case kind < 10:
		h.fault = hostFault{kind: faultRefusing}
	}
	return h
}

// randomImage returns an image, which another copy often has too.
func randomImage(random *rand.Rand, others []copySpec) *simObject {
	images := simImages()
	switch kind := random.IntN(32); {
	case kind == 0:
		return images.large[0]
	case kind < 4:
		return images.wide[random.IntN(len(images.wide))]
	case kind < 15 && len(others) > 0:
		return others[random.IntN(len(others))].image
	default:
		return images.ordinary[random.IntN(len(images.ordinary))]
	}
}

func TestZZStats(t *testing.T) {
	var n, took time.Duration
	for seed := range uint64(200) {
		s := randomSchedule(seed)
		for i := range s.copies {
			if s.isHealthy(i) {
				o, _ := s.alone(i).run(t)
				n++
				took += o[0].took()
				fmt.Println("alone", o[0].took().Seconds())
			}
		}
	}
	fmt.Println("mean", took/n)
}
