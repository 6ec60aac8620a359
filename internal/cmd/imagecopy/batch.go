package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// copiesAtOnce bounds what a long list costs in memory. It is more than enough
// to keep the hosts busy, whose own limits say how much they are asked at once.
const copiesAtOnce = 64

// batch is the copies of one run of the command, made by one engine.
type batch struct {
	client *remote.Client
	engine *copier.Copier
	pairs  []pair
	hints  hints
	ended  atomic.Int64 // copies that are over
}

// result is how one copy went.
type result struct {
	pair   pair
	report copier.Report
	err    error
	hint   string // what to do about err, "" where nothing is known
}

// copy makes every copy, whatever becomes of the others, and returns how they
// went, in their order.
func (b *batch) copy(ctx context.Context) []result {
	results := make([]result, len(b.pairs))
	var group errgroup.Group
	group.SetLimit(copiesAtOnce)
	for i, p := range b.pairs {
		group.Go(func() error {
			report, err := b.engine.Copy(ctx, copier.Job{
				Source:      b.client.Repository(p.source, remote.Pull),
				Destination: b.client.Repository(p.destination, remote.Push),
				Reference:   p.source.Target(),
				Digest:      p.source.Digest,
				Tags:        []string{p.destination.Tag},
			})
			results[i] = result{pair: p, report: report, err: err, hint: b.hints.about(p, err)}
			b.ended.Add(1)
			return nil
		})
	}
	_ = group.Wait()
	return results
}

// progress is a line that says how far the copies are after a time.
func (b *batch) progress(took time.Duration) string {
	line := progressLine(b.engine.Progress(), took)
	if len(b.pairs) > 1 {
		line = fmt.Sprintf("%d of %d copies, %s", b.ended.Load(), len(b.pairs), line)
	}
	return line
}
