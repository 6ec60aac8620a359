// The scheduling model checks that the progress of a copy depends on its own source and
// destination alone, whatever other copies of the process wait for.
//
// A schedule is a set of simulated registries, some of them slow or dead, and the copies
// that one process makes between them. The engine is the real one: remote.Client and
// copier.Copier over net/http. Everything else is simulated and runs in a synctest
// bubble: connections are buffers in memory (schedule_network_test.go), registries
// implement as much of the distribution API as a copy uses (schedule_registry_test.go,
// schedule_uploads_test.go), and latency and bandwidth cost virtual time alone, so that
// minutes of a slow registry pass in milliseconds.
//
// Named scenarios (schedule_scenario_test.go) and random schedules
// (schedule_random_test.go) are judged by the same property (schedule_property_test.go).
//
// The virtual clock stands still while a goroutine is blocked on a mutex. The engine must
// not hold a mutex that others need while it waits for a request slot, another copy or
// the network; such a schedule hangs, and the test says so.

package copier_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

// schedule is a set of simulated registries and the copies between them.
type schedule struct {
	hosts  []hostSpec
	copies []copySpec
}

// copySpec is one copy of a schedule.
type copySpec struct {
	image      *simObject
	from, to   int // indexes of hosts
	repository string
	start      time.Duration
	cancel     time.Duration // after start; 0: never
	timeout    time.Duration // after start; 0: patience
}

// patience is the timeout of copies, long enough for every healthy one.
const patience = 5 * time.Minute

// outcome is how a copy ended.
type outcome struct {
	report       copier.Report
	err          error
	began, ended time.Duration // since the schedule began
	exact        bool          // the destination has the tag and everything below it
}

// took returns how long the copy took.
func (o outcome) took() time.Duration { return o.ended - o.began }

// source and destination are the references of copy i.
func (s schedule) source(i int) string {
	return fmt.Sprintf("%s/source/%d:v1", s.hosts[s.copies[i].from].name, i)
}

func (s schedule) destination(i int) string {
	return fmt.Sprintf("%s/%s:v%d", s.hosts[s.copies[i].to].name, s.copies[i].repository, i)
}

// alone returns the schedule of copy i without the others, which starts at once.
func (s schedule) alone(i int) schedule {
	only := s.copies[i]
	only.start, only.cancel = 0, 0
	return schedule{hosts: s.hosts, copies: []copySpec{only}}
}

// run runs the schedule, and returns what became of each copy and what the
// registries saw that must not be.
func (s schedule) run(t *testing.T) (outcomes []outcome, violations []string) {
	t.Helper()
	hung := time.AfterFunc(hangTimeout, func() {
		stacks := make([]byte, 4<<20)
		panic(fmt.Sprintf("a schedule hangs: a goroutine holds a mutex that others wait for, while it waits for the virtual clock\n%s\n%s", s, stacks[:runtime.Stack(stacks, true)]))
	})
	defer hung.Stop()
	outcomes = make([]outcome, len(s.copies))
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		network := s.network(func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			violations = append(violations, fmt.Sprintf(format, args...))
		})
		client, engine := s.engine(t, network)
		began := time.Now()
		var running sync.WaitGroup
		for i := range s.copies {
			running.Go(func() { outcomes[i] = s.copyOne(client, engine, i, began) })
		}
		running.Wait()
		synctest.Wait()
		for i, c := range s.copies {
			outcomes[i].exact = network.hosts[s.hosts[c.to].name].holds(c.repository, fmt.Sprint("v", i), c.image)
		}
		for _, host := range network.hosts {
			if n := host.underWay(); n > 0 {
				violations = append(violations, fmt.Sprintf("%s has %d requests in flight after all copies have ended", host.spec.name, n))
			}
		}
		network.close()
	})
	return outcomes, violations
}

// hangTimeout is in real time. A schedule takes milliseconds.
const hangTimeout = 5 * time.Minute

// network makes the registries and gives the sources their images.
func (s schedule) network(report func(format string, args ...any)) *simNetwork {
	n := &simNetwork{hosts: map[string]*simHost{}, byAddr: map[netip.Addr]*simHost{}, conns: map[*simConn]bool{}}
	for i, spec := range s.hosts {
		host := newSimHost(spec, netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), report)
		n.hosts[spec.name], n.byAddr[host.addr] = host, host
	}
	for i, c := range s.copies {
		n.hosts[s.hosts[c.from].name].put(fmt.Sprint("source/", i), "v1", c.image)
	}
	return n
}

// engine makes the client and the copier of the process.
func (s schedule) engine(t *testing.T, network *simNetwork) (*remote.Client, *copier.Copier) {
	t.Helper()
	none, plain := "", true
	o := remote.Options{
		Credentials: auth.Options{DockerConfigPath: &none}, Hosts: map[string]remote.HostOptions{},
		Dial: network.dial, Resolve: network.resolve,
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
	}
	for _, host := range s.hosts {
		o.Hosts[host.name] = remote.HostOptions{PlainHTTP: &plain, MaxConcurrentRequests: host.limit}
	}
	client, err := remote.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return client, copier.New(nil)
}

// copyOne makes copy i.
func (s schedule) copyOne(client *remote.Client, engine *copier.Copier, i int, began time.Time) (o outcome) {
	c := s.copies[i]
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sleepFor(ctx, c.start)
	if c.cancel > 0 {
		timer := time.AfterFunc(c.cancel, cancel)
		defer timer.Stop()
	}
	timeout := patience
	if c.timeout > 0 {
		timeout = c.timeout
	}
	ctx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	source, err := registry.ParseReference(s.source(i))
	if err != nil {
		return outcome{err: err}
	}
	destination, err := registry.ParseReference(s.destination(i))
	if err != nil {
		return outcome{err: err}
	}
	o.began = time.Since(began)
	o.report, o.err = engine.Copy(ctx, copier.Job{
		Source: client.Repository(source, remote.Pull), Destination: client.Repository(destination, remote.Push),
		Reference: source.Tag, Tags: []string{destination.Tag},
	})
	o.ended = time.Since(began)
	return o
}

// sleepFor waits for d or for the end of ctx.
func sleepFor(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// String describes the schedule.
func (s schedule) String() string {
	var b strings.Builder
	for i, h := range s.hosts {
		fmt.Fprintf(&b, "  %s: round trip %s, %s per connection, %s shared, limit %d%s\n", s.hosts[i].name, h.latency.Round(time.Millisecond), perSecond(h.rate), perSecond(h.shared), h.limit, h.fault)
	}
	for i, c := range s.copies {
		var sizes []string
		c.image.all(func(o *simObject) {
			if !o.manifest {
				sizes = append(sizes, fmt.Sprintf("%.7s %d", o.digest.Encoded(), len(o.content)))
			}
		})
		if len(sizes) > 8 {
			sizes = append(sizes[:8], fmt.Sprintf("and %d more", len(sizes)-8))
		}
		fmt.Fprintf(&b, "  copy %d: %s to %s at %s, blobs %s", i, s.source(i), s.destination(i), c.start.Round(time.Millisecond), strings.Join(sizes, ", "))
		if c.cancel > 0 {
			fmt.Fprintf(&b, ", canceled after %s", c.cancel.Round(time.Millisecond))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// String describes the fault.
func (f hostFault) String() string {
	switch f.kind {
	case faultSlow:
		return fmt.Sprintf(", SLOW: %s after %d bytes of a blob", perSecond(f.rate), f.first)
	case faultStalling:
		return fmt.Sprintf(", STALLS after %d bytes of a blob", f.first)
	case faultSilent:
		return ", SILENT"
	case faultRefusing:
		return ", REFUSES connections"
	default:
		return ""
	}
}

func perSecond(rate float64) string { return fmt.Sprintf("%.1f KB/s", rate/1000) }
