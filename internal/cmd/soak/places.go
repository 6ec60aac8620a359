package main

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/opencontainers/go-digest"
)

// The destination has more tags than can be in use at a time: a copy uses three
// and may remove a fourth.
const (
	targets        = 6 // repositories of the destination
	tagsEach       = 8
	mostAtOnce     = targets * tagsEach / 4
	targetTemplate = "prod-%d/app"
)

// targetNames are the destination's repositories.
func targetNames() []string {
	var names []string
	for n := range targets {
		names = append(names, fmt.Sprintf(targetTemplate, n))
	}
	return names
}

// place is a tag of the destination. Whoever writes, removes or relies on it
// holds its lock.
type place struct {
	repository, tag string
	mu              sync.Mutex
	held            digest.Digest // "" for nothing
	attached        []referrer    // what came along with it
}

func newPlaces() []*place {
	var places []*place
	for _, name := range targetNames() {
		for n := range tagsEach {
			places = append(places, &place{repository: name, tag: fmt.Sprintf("t%d", n)})
		}
	}
	return places
}

// take locks a place that nobody uses and that fits, nil where there is none.
func (s *soak) take(random *rand.Rand, fits func(*place) bool) *place {
	for _, n := range random.Perm(len(s.places)) {
		if p := s.places[n]; p.mu.TryLock() {
			if fits(p) {
				return p
			}
			p.mu.Unlock()
		}
	}
	return nil
}

func anyPlace(*place) bool { return true }

func (p *place) holdsSomething() bool { return p.held != "" }
