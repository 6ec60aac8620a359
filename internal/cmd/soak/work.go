package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

const (
	// persistence is how often a person tries a copy that fails.
	persistence = 6
	// copyLasts is the time that a copy is given, and hangs how long it may take
	// in all: a copy that is not back by then does not end with its context.
	copyLasts = time.Minute
	hangs     = 2 * time.Minute
	// sweepEvery is after how many copies the destination's garbage is collected,
	// which is every few seconds.
	sweepEvery = 24
)

// errand is a copy that somebody wants.
type errand struct {
	source registry.Reference
	image           // what source names
	pinned bool     // the copy is told which digest that is
	along  bool     // what is attached is to come along
	from   *place   // that source is, locked; nil where it is of the source
	to     []*place // of one repository, locked
	// cancelled is after how long the copy is cancelled; 0 for never.
	cancelled time.Duration
}

// work does errands until there are enough of them, and now and then collects
// the destination's garbage.
func (s *soak) work(ctx context.Context) {
	for n, more := s.next(ctx); more; n, more = s.next(ctx) {
		random := rand.New(rand.NewPCG(s.seed, n))
		if random.IntN(4) == 0 {
			s.remove(ctx, random)
		}
		e := s.errand(random)
		s.persist(ctx, e)
		e.release()
		if n%sweepEvery == 0 {
			s.sweep(ctx)
		}
	}
}

// next is the number of the next errand, and whether there is to be one.
func (s *soak) next(ctx context.Context) (uint64, bool) {
	n := s.begun.Add(1)
	if s.copies > 0 {
		return n, n <= s.copies && ctx.Err() == nil
	}
	return n, time.Since(s.began) < s.lasts && ctx.Err() == nil
}

// remove removes a tag, and leaves its manifest to the next sweep.
func (s *soak) remove(ctx context.Context, random *rand.Rand) {
	p := s.take(random, (*place).holdsSomething)
	if p == nil {
		return
	}
	defer p.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	err := s.destination.holding(ctx, func() error {
		r, err := s.destination.repository(ctx, p.repository)
		if err == nil {
			err = r.tags.Untag(ctx, p.tag)
		}
		return err
	})
	if err != nil {
		s.broken("%s:%s cannot be removed: %v", p.repository, p.tag, err)
		return
	}
	p.held, p.attached = "", nil
	s.count.removed.Add(1)
}

// errand makes up an errand: from the source, or from a tag of the destination,
// which promotes or retags what is there. Release it.
func (s *soak) errand(random *rand.Rand) errand {
	var e errand
	to := s.take(random, anyPlace)
	e.to = []*place{to}
	if random.IntN(4) == 0 {
		if also := s.take(random, func(p *place) bool { return p.repository == to.repository }); also != nil {
			e.to = append(e.to, also)
		}
	}
	e.of(s.source.host, s.images[random.IntN(len(s.images))])
	if random.IntN(3) == 0 {
		if from := s.take(random, (*place).holdsSomething); from != nil {
			e.of(s.destination.host, image{from.repository, from.tag, from.held, from.attached})
			e.from = from
		}
	}
	e.pinned, e.along = random.IntN(2) == 0, random.IntN(3) == 0
	if random.IntN(10) == 0 {
		e.cancelled = time.Duration(1 + random.Int64N(int64(400*time.Millisecond)))
	}
	return e
}

// of says what is to be copied.
func (e *errand) of(host string, i image) {
	e.source, e.image = registry.Reference{Host: host, Repository: i.repository, Tag: i.tag}, i
}

func (e errand) release() {
	for _, p := range e.to {
		p.mu.Unlock()
	}
	if e.from != nil {
		e.from.mu.Unlock()
	}
}

// persist makes a copy, again and again where it fails, as a person would.
func (s *soak) persist(ctx context.Context, e errand) {
	for range persistence {
		err := s.attempt(ctx, e)
		switch {
		case err == nil:
			s.count.done.Add(1)
			return
		case e.cancelled > 0 || ctx.Err() != nil:
			s.count.cancelled.Add(1)
			return
		}
		s.count.failed(err)
	}
	s.count.givenUp.Add(1)
}

// attempt makes a copy once, and judges what became of its tags.
func (s *soak) attempt(ctx context.Context, e errand) error {
	hung := time.AfterFunc(hangs, func() { panic(fmt.Sprintf("the copy of %s did not end", e.source)) })
	defer hung.Stop()
	copying, cancel := context.WithTimeout(ctx, copyLasts)
	defer cancel()
	if e.cancelled > 0 {
		defer time.AfterFunc(e.cancelled, cancel).Stop()
	}
	report, err := s.engine.Copy(copying, s.job(e))
	s.count.attempt(report)
	s.judge(context.WithoutCancel(ctx), e, report, err)
	return err
}

// job puts an errand into the engine's words.
func (s *soak) job(e errand) copier.Job {
	job := copier.Job{
		Source:      s.client.Repository(e.source, remote.Pull),
		Destination: s.client.Repository(registry.Reference{Host: s.destination.host, Repository: e.to[0].repository}, remote.Push),
		Reference:   e.source.Tag,
		Referrers:   e.along,
	}
	if e.pinned {
		job.Digest = e.root
	}
	for _, p := range e.to {
		job.Tags = append(job.Tags, p.tag)
	}
	return job
}
