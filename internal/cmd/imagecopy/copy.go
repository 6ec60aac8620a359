package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// pair is one copy that is wanted.
type pair struct{ source, destination registry.Reference }

func newPair(source, destination string) (pair, error) {
	s, err := registry.ParseReference(source)
	if err != nil {
		return pair{}, err
	}
	d, err := registry.ParseReference(destination)
	if err != nil {
		return pair{}, err
	}
	if d.Digest != "" {
		return pair{}, fmt.Errorf("the destination %s has a digest; give a tag, the digest is the source's", destination)
	}
	return pair{source: s.WithDefaultTag(), destination: d.WithDefaultTag()}, nil
}

// readList reads a file with a pair a line; empty lines and those that start
// with # are passed over.
func readList(name string) ([]pair, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var pairs []pair
	lines := bufio.NewScanner(file)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 2 {
			return nil, fmt.Errorf("%s:%d: a line is SRC DST, and this one has %d words", name, number, len(fields))
		}
		p, err := newPair(fields[0], fields[1])
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, number, err)
		}
		pairs = append(pairs, p)
	}
	return pairs, lines.Err()
}

type result struct {
	pair   pair
	report copier.Report
	err    error
}

// copyAll does every copy at once. How much of that is really at the same time
// is up to the limits of the hosts.
func copyAll(ctx context.Context, client *remote.Client, engine *copier.Copier, pairs []pair) []result {
	results := make([]result, len(pairs))
	var group sync.WaitGroup
	for i, p := range pairs {
		group.Go(func() {
			report, err := engine.Copy(ctx, copier.Job{
				Source:      client.Repository(p.source, remote.Pull),
				Destination: client.Repository(p.destination, remote.Push),
				Reference:   p.source.Target(),
				Digest:      p.source.Digest,
				Tags:        []string{p.destination.Tag},
			})
			results[i] = result{pair: p, report: report, err: err}
		})
	}
	group.Wait()
	return results
}

// showProgress draws a line on a terminal until the function that it returns is
// called: bytes, rate, and what remains.
func showProgress(w io.Writer, engine *copier.Copier) (stop func()) {
	const beat = 200 * time.Millisecond
	ticker := time.NewTicker(beat)
	ended, drawn := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(drawn)
		for {
			select {
			case <-ticker.C:
				fmt.Fprint(w, "\r\x1b[K"+progressLine(engine.Progress(), time.Since(began)))
			case <-ended:
				fmt.Fprint(w, "\r\x1b[K")
				return
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(ended)
		<-drawn
	}
}

// progressLine says how far the copies are after a time.
func progressLine(p copier.Progress, took time.Duration) string {
	rate := float64(p.Done) / max(took.Seconds(), 0.001)
	line := fmt.Sprintf("%s of %s, %s/s", amount(p.Done), amount(p.Known), amount(int64(rate)))
	if left := p.Known - p.Done; left > 0 && rate > 0 {
		line += fmt.Sprintf(", %s left", (time.Duration(float64(left)/rate) * time.Second).Round(time.Second))
	}
	return line
}

// amount is a number of bytes as people read it.
func amount(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
