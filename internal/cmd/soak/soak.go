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
	// stallTimeout is how long the engine waits for a response or a byte.
	stallTimeout = 5 * time.Second
	// advice is printed after the complaints. Its argument is the seed.
	advice = "Run it several times with -seed %d -log FILE: the same seed makes the same choices, but not in the same order." +
		" A failure that recurs is a bug of the engine or of the soak test."
	// maxComplaints limits the printed complaints, because one fault often causes many.
	maxComplaints = 20
)

// soak is a run of the command.
type soak struct {
	options
	began               time.Time
	log                 *slog.Logger
	faults              faults
	conns               *connTracker
	source, destination *server
	client              *remote.Client
	engine              *copier.Copier
	images              []image
	targets             []*target
	started             atomic.Uint64 // copies and removals
	count               count

	mu         sync.Mutex
	complaints []string // expectations that do not hold
}

// run runs the soak and prints progress and results to out. The error lists what does not hold.
// When ctx ends, run stops the copies but still makes the checks.
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
		s.complain("%s", what)
	}
	fmt.Fprintf(out, "%-14s %s and %d goroutines before, %s and %d after\n\n", "at rest", mib(before.heap), before.goroutines, mib(after.heap), after.goroutines)
	runtime.KeepAlive(s) // the footprint includes the engine and its caches
	if err := s.verdict(); err != nil {
		return err
	}
	fmt.Fprintln(out, "all checks passed")
	return nil
}

// open starts both registries, pushes the images to the source and creates the engine.
func open(ctx context.Context, o options) (*soak, error) {
	s := &soak{options: o, began: time.Now(), targets: newTargets(), conns: newConnTracker()}
	s.faults.seed = o.seed
	s.log = slog.New(slog.DiscardHandler)
	if o.log != nil {
		s.log = slog.New(slog.NewTextHandler(o.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	var err error
	if s.source, err = openServer(ctx, &s.faults, s.conns); err != nil {
		return nil, err
	}
	if s.destination, err = openServer(ctx, &s.faults, s.conns); err == nil {
		err = s.prepare(ctx)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *soak) prepare(ctx context.Context) (err error) {
	if s.images, err = pushImages(ctx, s.source, s.seed); err != nil {
		return err
	}
	credential := auth.Credential{Username: user, Password: password, Source: "the soak"}
	s.client, err = remote.New(remote.Options{
		UserAgent: "soak",
		Credentials: auth.Options{
			Registries:       map[string]auth.Credential{s.source.host: credential, s.destination.host: credential},
			DockerConfigPath: new(""),
		},
		Dial:   s.conns.dial,
		Logger: s.log,
		// Fewer attempts than by default, so that some copies fail.
		Attempts: 2, Backoff: 20 * time.Millisecond, StallTimeout: stallTimeout, HeaderTimeout: stallTimeout,
	})
	s.engine = copier.New(s.log)
	return err
}

// close stops the registries and drops the references to them.
func (s *soak) close() {
	for _, r := range []**server{&s.source, &s.destination} {
		if *r != nil {
			(*r).close()
			*r = nil
		}
	}
}

// copy makes copies until there are enough of them or ctx ends.
func (s *soak) copy(ctx context.Context) {
	var workers sync.WaitGroup
	for range s.concurrency {
		workers.Go(func() { s.work(ctx) })
	}
	workers.Wait()
}

// settle stops the faults and checks the final state: all content is complete, and every copy
// succeeds at the first attempt, even if the engine has cached that the destination has content
// that a sweep removed.
func (s *soak) settle(ctx context.Context) {
	s.faults.over.Store(true)
	s.check(ctx)
	random := rand.New(rand.NewPCG(s.seed, 0))
	for range len(s.targets) / 2 {
		s.remove(ctx, random)
	}
	s.sweepWhenIdle(ctx)
	var copies errgroup.Group
	copies.SetLimit(s.concurrency)
	for n, i := range s.images {
		p := s.targets[n]
		e := copyTask{to: []*target{p}, referrers: true}
		e.setSource(s.source.host, i)
		copies.Go(func() error {
			p.mu.Lock()
			defer p.mu.Unlock()
			if err := s.attempt(ctx, e); err != nil {
				s.complain("without faults the copy of %s to %s:%s fails: %v", e.source, p.repository, p.tag, err)
			}
			return nil
		})
	}
	_ = copies.Wait() // failures were reported by complain
	s.check(ctx)
}

// check reads the content of every tag and reports differences to the expected state.
func (s *soak) check(ctx context.Context) {
	read := map[digest.Digest]bool{}
	for _, p := range s.targets {
		switch found, err := s.inspect(ctx, p, read); {
		case err != nil:
			s.complain("in the end: %v", err)
		case found != p.current:
			s.complain("in the end %s:%s holds %s, and %s was put there", p.repository, p.tag, digestOrNone(found), digestOrNone(p.current))
		}
		if err := s.checkReferrers(ctx, p, read); err != nil {
			s.complain("in the end: %v", err)
		}
	}
}

// sweep collects the garbage of the destination if no requests prevent it. It returns false if
// it was postponed.
func (s *soak) sweep(ctx context.Context) bool {
	done, err := s.destination.sweep(context.WithoutCancel(ctx), targetNames())
	switch {
	case err != nil:
		s.complain("the destination does not work any more: %v", err)
	case done:
		s.log.DebugContext(ctx, "the destination's garbage was collected")
		s.count.sweeps.Add(1)
	default:
		s.count.postponed.Add(1)
	}
	return done || err != nil
}

// sweepWhenIdle collects the garbage of the destination after the last request ended.
func (s *soak) sweepWhenIdle(ctx context.Context) {
	for range 2 * int(stallDuration/sweepTimeout) {
		if s.sweep(ctx) {
			return
		}
	}
	s.complain("a request to the destination does not end")
}

// complain records an expectation that does not hold.
func (s *soak) complain(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complaints = append(s.complaints, fmt.Sprintf("after %s: %s", time.Since(s.began).Round(time.Millisecond), fmt.Sprintf(format, args...)))
}

// verdict returns an error that lists the complaints, if any.
func (s *soak) verdict() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.complaints) == 0 {
		return nil
	}
	log := s.complaints[:min(len(s.complaints), maxComplaints)]
	things := "things do"
	if len(s.complaints) == 1 {
		things = "thing does"
	}
	return fmt.Errorf("%d %s not hold:\n- %s\n%s", len(s.complaints), things, strings.Join(log, "\n- "), fmt.Sprintf(advice, s.seed))
}
