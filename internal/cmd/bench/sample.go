package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// setting is what lies between a copier and the registries.
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

// sample is what one copier took for one scenario, once.
type sample struct {
	wall, cpu   time.Duration
	memory      int64          // peak of the largest process, in bytes
	requests    map[string]int // by method, at both registries
	connections int64          // to both
	bytes       int64          // over both proxies, in both directions
	failed      string         // why, and "" where nothing did
}

func (s sample) String() string {
	if s.failed != "" {
		return "failed: " + s.failed
	}
	return fmt.Sprintf("%.3f s, %d requests", s.wall.Seconds(), s.total())
}

// total is the number of requests.
func (s sample) total() int64 {
	var n int
	for _, count := range s.requests {
		n += count
	}
	return int64(n)
}

// methods are the requests by method, in words.
func (s sample) methods() string {
	var words []string
	for _, method := range slices.Sorted(maps.Keys(s.requests)) {
		words = append(words, fmt.Sprintf("%s %d", method, s.requests[method]))
	}
	return strings.Join(words, ", ")
}

// difference is what was counted between two counts.
func difference(after, before map[string]int) map[string]int {
	d := maps.Clone(after)
	for method, n := range before {
		d[method] -= n
	}
	maps.DeleteFunc(d, func(_ string, n int) bool { return n == 0 })
	return d
}

// row is one copier in one scenario and setting.
type row struct {
	contender
	samples []sample
}

// byWall are the samples, the fastest first.
func (r row) byWall() []sample {
	return slices.SortedStableFunc(slices.Values(r.samples), func(a, b sample) int { return cmp.Compare(a.wall, b.wall) })
}

// median is the sample with the median wall time, the slower of the two in the
// middle of an even number. Its other figures are of that one run, and so belong
// together.
func (r row) median() sample { return r.byWall()[len(r.samples)/2] }

// failure is why the first of the runs that failed did, and "" where none did.
func (r row) failure() string {
	for _, s := range r.samples {
		if s.failed != "" {
			return s.failed
		}
	}
	return ""
}

// peer says whether the row is of a copier that we are held against.
func (r row) peer() bool { return !r.ours && r.name != yardstick }
