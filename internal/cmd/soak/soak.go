package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

const (
	// patience is how long the engine waits for an answer or a byte.
	patience = 5 * time.Second
	// whatToDo goes with them, and takes the seed.
	whatToDo = "Run it again with -seed %d -log FILE, some times: the same seed makes the same choices in another order of events." +
		" What then stays is a fault, of the engine unless a registry cannot do what the soak did to it."
	// mostComplaints are told: what is broken is often broken again and again.
	mostComplaints = 20
)

// soak is one run.
type soak struct {
	options
	began               time.Time
	told                *slog.Logger
	faults              faults
	wires               *wires
	source, destination *server
	client              *remote.Client
	engine              *copier.Copier
	images              []image
	places              []*place
	begun               atomic.Uint64 // errands
	count               count

	mu         sync.Mutex
	complaints []string // what does not hold
}

// run does the whole soak and tells out about it. The error names what does not
// hold. When ctx ends, so do the copies, and the checks are made.
func run(ctx context.Context, o options, out io.Writer) error {
	before := restingFootprint()
	s, err := open(context.WithoutCancel(ctx), o)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "seed %d\n", o.seed)
	stop := s.showProgress(out)
	s.copy(ctx)
	s.settle(context.WithoutCancel(ctx))
	stop()
	fmt.Fprintf(out, "\n%s", s.summary())
	s.close()
	after, more := before.exceeded(context.WithoutCancel(ctx))
	for _, what := range more {
		s.broken("%s", what)
	}
	fmt.Fprintf(out, "%-14s %s and %d goroutines before, %s and %d after\n\n", "at rest", mib(before.heap), before.goroutines, mib(after.heap), after.goroutines)
	runtime.KeepAlive(s) // the engine with all that it knows
	if err := s.verdict(); err != nil {
		return err
	}
	fmt.Fprintln(out, "everything held")
	return nil
}

// open starts both registries, with something in each, and the engine.
func open(ctx context.Context, o options) (*soak, error) {
	s := &soak{options: o, began: time.Now(), places: newPlaces(), wires: newWires()}
	s.faults.seed = o.seed
	s.told = slog.New(slog.DiscardHandler)
	if o.log != nil {
		s.told = slog.New(slog.NewTextHandler(o.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	var err error
	if s.source, err = openServer(ctx, &s.faults, s.wires); err != nil {
		return nil, err
	}
	if s.destination, err = openServer(ctx, &s.faults, s.wires); err == nil {
		err = s.prepare(ctx)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *soak) prepare(ctx context.Context) (err error) {
	if s.images, err = stock(ctx, s.source, s.seed); err != nil {
		return err
	}
	credential := auth.Credential{Username: user, Password: password, Source: "the soak"}
	s.client, err = remote.New(remote.Options{
		UserAgent: "soak",
		Credentials: auth.Options{
			Registries:       map[string]auth.Credential{s.source.host: credential, s.destination.host: credential},
			DockerConfigPath: new(""),
		},
		Dial:   s.wires.dial,
		Logger: s.told,
		// Less than by default, so that copies fail at all.
		Attempts: 2, Backoff: 20 * time.Millisecond, StallTimeout: patience, HeaderTimeout: patience,
	})
	s.engine = copier.New(s.told)
	return err
}

// close ends the registries, and forgets what they hold.
func (s *soak) close() {
	for _, r := range []**server{&s.source, &s.destination} {
		if *r != nil {
			(*r).close()
			*r = nil
		}
	}
}

// copy does errands until there are enough of them or ctx ends.
func (s *soak) copy(ctx context.Context) {
	var workers sync.WaitGroup
	for range s.atOnce {
		workers.Go(func() { s.work(ctx) })
	}
	workers.Wait()
}

// settle ends the faults and checks what must hold then: everything is whole,
// and every copy succeeds at once, also where the engine believes that the
// destination has what a sweep took away.
func (s *soak) settle(ctx context.Context) {
	s.faults.over.Store(true)
	s.check(ctx)
	random := rand.New(rand.NewPCG(s.seed, 0))
	for range len(s.places) / 2 {
		s.remove(ctx, random)
	}
	s.sweepAtLast(ctx)
	var copies errgroup.Group
	copies.SetLimit(s.atOnce)
	for n, i := range s.images {
		p := s.places[n]
		e := errand{to: []*place{p}, along: true}
		e.of(s.source.host, i)
		copies.Go(func() error {
			p.mu.Lock()
			defer p.mu.Unlock()
			if err := s.attempt(ctx, e); err != nil {
				s.broken("without faults the copy of %s to %s:%s fails: %v", e.source, p.repository, p.tag, err)
			}
			return nil
		})
	}
	_ = copies.Wait() // what fails was told
	s.check(ctx)
}

// check reads every tag to the last byte, and says what is not as it should be.
func (s *soak) check(ctx context.Context) {
	read := map[digest.Digest]bool{}
	for _, p := range s.places {
		switch found, err := s.inspect(ctx, p, read); {
		case err != nil:
			s.broken("in the end: %v", err)
		case found != p.held:
			s.broken("in the end %s:%s holds %s, and %s was put there", p.repository, p.tag, named(found), named(p.held))
		}
		if err := s.accompanied(ctx, p, read); err != nil {
			s.broken("in the end: %v", err)
		}
	}
}

// sweep collects the destination's garbage, where it is possible now.
func (s *soak) sweep(ctx context.Context) bool {
	done, err := s.destination.sweep(context.WithoutCancel(ctx), targetNames())
	switch {
	case err != nil:
		s.broken("the destination does not work any more: %v", err)
	case done:
		s.told.DebugContext(ctx, "the destination's garbage was collected")
		s.count.sweeps.Add(1)
	default:
		s.count.postponed.Add(1)
	}
	return done || err != nil
}

// sweepAtLast collects it once the last request has ended.
func (s *soak) sweepAtLast(ctx context.Context) {
	for range 2 * int(stallsFor/sweepWaits) {
		if s.sweep(ctx) {
			return
		}
	}
	s.broken("a request to the destination does not end")
}

// broken notes what does not hold.
func (s *soak) broken(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complaints = append(s.complaints, fmt.Sprintf("after %s: %s", time.Since(s.began).Round(time.Millisecond), fmt.Sprintf(format, args...)))
}

// verdict is nil where everything holds.
func (s *soak) verdict() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.complaints) == 0 {
		return nil
	}
	told := s.complaints[:min(len(s.complaints), mostComplaints)]
	things := "things do"
	if len(s.complaints) == 1 {
		things = "thing does"
	}
	return fmt.Errorf("%d %s not hold:\n- %s\n%s", len(s.complaints), things, strings.Join(told, "\n- "), fmt.Sprintf(whatToDo, s.seed))
}
