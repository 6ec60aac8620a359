// The scheduling model checks that the progress of a copy depends only on its own source and
// destination, and not on other copies of the process.
//
// A schedule is a set of simulated registries, some of them slow or unresponsive, and copies of one
// process between them. The tests use the real remote.Client and copier.Copier over net/http.
// Everything else is simulated in a synctest bubble. Connections are buffers in memory
// (schedule_harness_network_test.go). Registries implement the part of the distribution API that a
// copy uses (schedule_harness_registry_test.go, schedule_harness_uploads_test.go). Latency and
// bandwidth only use virtual time, so that minutes of a slow registry pass in milliseconds.
//
// Named scenarios (schedule_scenario_test.go) and random schedules
// (schedule_random_scenario_test.go) are checked for the same properties
// (schedule_harness_property_test.go).
//
// The virtual clock does not advance while a goroutine is blocked on a mutex. The copier must not
// hold a shared mutex while it waits for a request slot, another copy or the network. Otherwise the
// schedule hangs, and the test panics with a description of it.

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
	cancel     time.Duration // after start; 0 means never
	timeout    time.Duration // after start; 0 means defaultTimeout
}

// defaultTimeout is the timeout of copies, long enough for every healthy copy.
const defaultTimeout = 5 * time.Minute

// outcome is the result of a copy.
type outcome struct {
	report       copier.Report
	err          error
	began, ended time.Duration // since the schedule began
	exact        bool          // whether the destination has the tag and the complete image
}

// took returns how long the copy took.
func (o outcome) took() time.Duration { return o.ended - o.began }

// source returns the source reference of copy i.
func (s schedule) source(i int) string {
	return fmt.Sprintf("%s/source/%d:v1", s.hosts[s.copies[i].from].name, i)
}

// destination returns the destination reference of copy i.
func (s schedule) destination(i int) string {
	return fmt.Sprintf("%s/%s:v%d", s.hosts[s.copies[i].to].name, s.copies[i].repository, i)
}

// only returns a schedule with only copy i, which starts immediately and is not canceled.
func (s schedule) only(i int) schedule {
	c := s.copies[i]
	c.start, c.cancel = 0, 0
	return schedule{hosts: s.hosts, copies: []copySpec{c}}
}

// run runs the schedule. It returns the outcome of each copy, and the protocol violations that the
// registries detected.
func (s schedule) run(t *testing.T) (outcomes []outcome, violations []string) {
	t.Helper()
	hung := time.AfterFunc(hangTimeout, func() {
		stacks := make([]byte, 4<<20)
		panic(fmt.Sprintf("schedule hangs: a goroutine holds a contended mutex while it waits for the virtual clock\n%s\n%s", s, stacks[:runtime.Stack(stacks, true)]))
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
			outcomes[i].exact = network.hosts[s.hosts[c.to].name].hasImage(c.repository, fmt.Sprint("v", i), c.image)
		}
		for _, host := range network.hosts {
			if n := host.requestsInFlight(); n > 0 {
				violations = append(violations, fmt.Sprintf("%s has %d requests in flight after all copies have ended", host.spec.name, n))
			}
		}
		network.close()
	})
	return outcomes, violations
}

// hangTimeout is the limit for a schedule in real time. Normally, a schedule takes milliseconds.
const hangTimeout = 5 * time.Minute

// network returns a network with the registries of the schedule and adds the source images.
func (s schedule) network(report func(format string, args ...any)) *simNetwork {
	n := &simNetwork{hosts: map[string]*simHost{}, byAddr: map[netip.Addr]*simHost{}, conns: map[*simConn]bool{}}
	for i, spec := range s.hosts {
		host := newSimHost(spec, netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), report)
		n.hosts[spec.name], n.byAddr[host.addr] = host, host
	}
	for i, c := range s.copies {
		n.hosts[s.hosts[c.from].name].addImage(fmt.Sprint("source/", i), "v1", c.image)
	}
	return n
}

// engine returns the client and the copier of the simulated process.
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

// copyOne runs copy i.
func (s schedule) copyOne(client *remote.Client, engine *copier.Copier, i int, began time.Time) (o outcome) {
	c := s.copies[i]
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sleepFor(ctx, c.start)
	if c.cancel > 0 {
		timer := time.AfterFunc(c.cancel, cancel)
		defer timer.Stop()
	}
	timeout := defaultTimeout
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

// sleepFor waits until d has passed or ctx ends.
func sleepFor(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// String returns a description of the schedule.
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

// String returns a description of the fault.
func (f hostFault) String() string {
	switch f.kind {
	case faultSlow:
		return fmt.Sprintf(", SLOW: %s after %d bytes of a blob", perSecond(f.rate), f.first)
	case faultStalling:
		return fmt.Sprintf(", STALLS after %d bytes of a blob", f.first)
	case faultSilent:
		return ", SILENT"
	case faultFlaky:
		return fmt.Sprintf(", flaky after %d bytes of a blob", f.first)
	case faultRefusing:
		return ", REFUSES connections"
	default:
		return ""
	}
}

func perSecond(rate float64) string { return fmt.Sprintf("%.1f KB/s", rate/1000) }
