package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// copiesAtOnce bounds what a long list costs in memory. It is more than enough
// to keep the hosts busy, whose own limits say how much they are asked at once.
const copiesAtOnce = 64

// batch is the copies of one run of the command, made by one engine.
type batch struct {
	client    *remote.Client
	engine    *copier.Copier
	pairs     []pair
	hints     hints
	platforms []registry.Platform
	referrers referrers
	ended     atomic.Int64 // copies that are over
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
			report, err := b.one(ctx, p)
			report.Found = nil // the content of referrers, which no report shows
			results[i] = result{pair: p, report: report, err: err, hint: b.hints.about(p, err)}
			b.ended.Add(1)
			return nil
		})
	}
	_ = group.Wait()
	return results
}

// one makes one copy.
func (b *batch) one(ctx context.Context, p pair) (copier.Report, error) {
	source, err := p.source.OpenSource(b.client)
	if err != nil {
		return copier.Report{}, registry.WithSide(err, registry.Source)
	}
	destination, err := p.destination.OpenDestination(b.client)
	if err != nil {
		return copier.Report{}, registry.WithSide(err, registry.Destination)
	}
	return b.engine.Copy(ctx, copier.Job{
		Source: source, Destination: destination,
		Reference: p.source.Identifier(), Digest: p.source.Digest(), Platforms: b.platforms, Tags: []string{p.destination.Tag()},
		Referrers: b.referrers.wanted, ReferrerTypes: b.referrers.types,
	})
}

// progress is a line that says how far the copies are after a time.
func (b *batch) progress(took time.Duration) string {
	line := progressLine(b.engine.Progress(), took)
	if len(b.pairs) > 1 {
		line = fmt.Sprintf("%d of %d copies, %s", b.ended.Load(), len(b.pairs), line)
	}
	return line
}
