package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// setting is the connection between a copier and the registries.
type setting struct {
	tls bool
	rtt time.Duration
}

func (s setting) String() string {
	transport := "plain HTTP"
	if s.tls {
		transport = "TLS"
	}
	if s.rtt == 0 {
		return "no delay, " + transport
	}
	return strings.Replace(s.rtt.String(), "ms", " ms", 1) + ", " + transport
}

// sample is the measurement of one run of a copier.
type sample struct {
	wall, cpu   time.Duration
	memory      int64          // peak of the largest process, in bytes
	requests    map[string]int // by method, at both registries
	connections int64          // to both
	bytes       int64          // over both proxies, in both directions
	failed      string         // the error; "" if the run succeeded
}

func (s sample) String() string {
	if s.failed != "" {
		return "failed: " + s.failed
	}
	return fmt.Sprintf("%.3f s, %d requests", s.wall.Seconds(), s.total())
}

// total returns the number of requests.
func (s sample) total() int64 {
	var n int
	for _, count := range s.requests {
		n += count
	}
	return int64(n)
}

// methods returns the requests by method as text.
func (s sample) methods() string {
	var words []string
	for _, method := range slices.Sorted(maps.Keys(s.requests)) {
		words = append(words, fmt.Sprintf("%s %d", method, s.requests[method]))
	}
	return strings.Join(words, ", ")
}

// difference returns the requests that were counted after before and until after.
func difference(after, before map[string]int) map[string]int {
	d := maps.Clone(after)
	for method, n := range before {
		d[method] -= n
	}
	maps.DeleteFunc(d, func(_ string, n int) bool { return n == 0 })
	return d
}

// row has the runs of a copier for one scenario and setting.
type row struct {
	contender
	samples []sample
}

// byWall returns the samples sorted by wall time, the fastest first.
func (r row) byWall() []sample {
	return slices.SortedStableFunc(slices.Values(r.samples), func(a, b sample) int { return cmp.Compare(a.wall, b.wall) })
}

// median returns the sample with the median wall time, or the slower of the two middle samples
// of an even number. All figures of the row are from this sample, so that they are consistent.
func (r row) median() sample { return r.byWall()[len(r.samples)/2] }

// failure returns the error of the first failed run, or "" if all succeeded.
func (r row) failure() string {
	for _, s := range r.samples {
		if s.failed != "" {
			return s.failed
		}
	}
	return ""
}

// peer reports whether the row is of a copier that imagecopy and the provider are compared
// with.
func (r row) peer() bool { return !r.ours && r.name != baseline }
