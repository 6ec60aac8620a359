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
	// maxAttempts is how often a copy is attempted.
	maxAttempts = 6
	// copyTimeout limits a copy by its context. hangTimeout limits its total time: a copy that
	// has not returned by then ignores its context.
	copyTimeout = time.Minute
	hangTimeout = 2 * time.Minute
	// sweepEvery is the number of copies between garbage collections of the destination. They
	// occur every few seconds.
	sweepEvery = 24
)

// copyTask is a copy to make.
type copyTask struct {
	source    registry.Reference
	image               // the image of source
	pinned    bool      // the copy is given the expected digest
	referrers bool      // copy referrers
	from      *target   // the locked target that is the source; nil if the source is another registry
	to        []*target // locked targets, all in one repository
	// canceled is the delay after which the copy is canceled, or 0.
	canceled time.Duration
}

// work makes copies until there are enough of them, and regularly collects the garbage of the
// destination.
func (s *soak) work(ctx context.Context) {
	for n, more := s.next(ctx); more; n, more = s.next(ctx) {
		random := rand.New(rand.NewPCG(s.seed, n))
		if random.IntN(4) == 0 {
			s.remove(ctx, random)
		}
		e := s.newTask(random)
		s.copyWithRetries(ctx, e)
		e.release()
		if n%sweepEvery == 0 {
			s.sweep(ctx)
		}
	}
}

// next returns the number of the next copy, and whether it is to be made.
func (s *soak) next(ctx context.Context) (uint64, bool) {
	n := s.started.Add(1)
	if s.copies > 0 {
		return n, n <= s.copies && ctx.Err() == nil
	}
	return n, time.Since(s.began) < s.duration && ctx.Err() == nil
}

// remove deletes a tag. The next sweep removes its manifest.
func (s *soak) remove(ctx context.Context, random *rand.Rand) {
	p := s.lockTarget(random, (*target).exists)
	if p == nil {
		return
	}
	defer p.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	err := s.destination.withoutSweep(ctx, func() error {
		r, err := s.destination.repository(ctx, p.repository)
		if err == nil {
			err = r.tags.Untag(ctx, p.tag)
		}
		return err
	})
	if err != nil {
		s.complain("%s:%s cannot be removed: %v", p.repository, p.tag, err)
		return
	}
	p.current, p.attached = "", nil
	s.count.removed.Add(1)
}

// newTask returns a random copy, either from the source registry or from a tag of the
// destination, which is a promotion or a new tag. The caller must release it.
func (s *soak) newTask(random *rand.Rand) copyTask {
	var e copyTask
	to := s.lockTarget(random, anyTarget)
	e.to = []*target{to}
	if random.IntN(4) == 0 {
		if also := s.lockTarget(random, func(p *target) bool { return p.repository == to.repository }); also != nil {
			e.to = append(e.to, also)
		}
	}
	e.setSource(s.source.host, s.images[random.IntN(len(s.images))])
	if random.IntN(3) == 0 {
		if from := s.lockTarget(random, (*target).exists); from != nil {
			e.setSource(s.destination.host, image{from.repository, from.tag, from.current, from.attached})
			e.from = from
		}
	}
	e.pinned, e.referrers = random.IntN(2) == 0, random.IntN(3) == 0
	if random.IntN(10) == 0 {
		e.canceled = time.Duration(1 + random.Int64N(int64(400*time.Millisecond)))
	}
	return e
}

// setSource sets the image to copy.
func (e *copyTask) setSource(host string, i image) {
	e.source, e.image = registry.Reference{Host: host, Repository: i.repository, Tag: i.tag}, i
}

func (e copyTask) release() {
	for _, p := range e.to {
		p.mu.Unlock()
	}
	if e.from != nil {
		e.from.mu.Unlock()
	}
}

// copyWithRetries makes a copy, with retries if it fails.
func (s *soak) copyWithRetries(ctx context.Context, e copyTask) {
	for range maxAttempts {
		err := s.attempt(ctx, e)
		switch {
		case err == nil:
			s.count.done.Add(1)
			return
		case e.canceled > 0 || ctx.Err() != nil:
			s.count.canceled.Add(1)
			return
		}
		s.count.failed(err)
	}
	s.count.givenUp.Add(1)
}

// attempt makes a single attempt at a copy and verifies its tags.
func (s *soak) attempt(ctx context.Context, e copyTask) error {
	hung := time.AfterFunc(hangTimeout, func() { panic(fmt.Sprintf("the copy of %s did not end", e.source)) })
	defer hung.Stop()
	copying, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	if e.canceled > 0 {
		defer time.AfterFunc(e.canceled, cancel).Stop()
	}
	report, err := s.engine.Copy(copying, s.job(e))
	s.count.attempt(report)
	s.verify(context.WithoutCancel(ctx), e, report, err)
	return err
}

// job converts a copy to a job of the engine.
func (s *soak) job(e copyTask) copier.Job {
	job := copier.Job{
		Source:      s.client.Repository(e.source, remote.Pull),
		Destination: s.client.Repository(registry.Reference{Host: s.destination.host, Repository: e.to[0].repository}, remote.Push),
		Reference:   e.source.Tag,
		Referrers:   e.referrers,
	}
	if e.pinned {
		job.Digest = e.root
	}
	for _, p := range e.to {
		job.Tags = append(job.Tags, p.tag)
	}
	return job
}
