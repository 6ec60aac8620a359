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

// maxCopies limits the memory that a long list needs. It is high enough to keep the hosts busy,
// whose own limits bound the concurrent requests.
const maxCopies = 64

// batch makes the copies of a run with one engine.
type batch struct {
	client    *remote.Client
	engine    *copier.Copier
	pairs     []pair
	hints     hints
	platforms []registry.Platform
	referrers referrers
	ended     atomic.Int64 // number of completed copies, successful or not
}

// result is the result of a copy.
type result struct {
	pair   pair
	report copier.Report
	err    error
	hint   string // advice about err; "" if there is none
}

// copy makes all copies, even if some fail, and returns their results in order.
func (b *batch) copy(ctx context.Context) []result {
	results := make([]result, len(b.pairs))
	var group errgroup.Group
	group.SetLimit(maxCopies)
	for i, p := range b.pairs {
		group.Go(func() error {
			report, err := b.copyPair(ctx, p)
			report.Found = nil // content of referrers, which no report includes
			results[i] = result{pair: p, report: report, err: err, hint: b.hints.forError(p, err)}
			b.ended.Add(1)
			return nil
		})
	}
	_ = group.Wait()
	return results
}

// copyPair makes one copy.
func (b *batch) copyPair(ctx context.Context, p pair) (copier.Report, error) {
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
		Referrers: b.referrers.enabled, ReferrerTypes: b.referrers.types,
	})
}

// progress returns a line with the progress of the copies after the given time.
func (b *batch) progress(elapsed time.Duration) string {
	line := progressLine(b.engine.Progress(), elapsed)
	if len(b.pairs) > 1 {
		line = fmt.Sprintf("%d of %d copies, %s", b.ended.Load(), len(b.pairs), line)
	}
	return line
}
