package main

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/opencontainers/go-digest"
)

// The destination has more tags than can be in use at a time: a copy uses up to three and may
// remove a fourth.
const (
	targetRepositories = 6 // repositories of the destination
	tagsEach           = 8
	maxConcurrency     = targetRepositories * tagsEach / 4
	targetTemplate     = "prod-%d/app"
)

// targetNames returns the repositories of the destination.
func targetNames() []string {
	var names []string
	for n := range targetRepositories {
		names = append(names, fmt.Sprintf(targetTemplate, n))
	}
	return names
}

// target is a tag of the destination. A copy or sweep that writes, removes or reads the tag
// must hold its lock.
type target struct {
	repository, tag string
	mu              sync.Mutex
	current         digest.Digest // "" if the tag does not exist
	attached        []referrer    // referrers that were copied with it
}

func newTargets() []*target {
	var targets []*target
	for _, name := range targetNames() {
		for n := range tagsEach {
			targets = append(targets, &target{repository: name, tag: fmt.Sprintf("t%d", n)})
		}
	}
	return targets
}

// lockTarget locks and returns a random target that is unused and fits. It returns nil if no
// target is.
func (s *soak) lockTarget(random *rand.Rand, fits func(*target) bool) *target {
	for _, n := range random.Perm(len(s.targets)) {
		if p := s.targets[n]; p.mu.TryLock() {
			if fits(p) {
				return p
			}
			p.mu.Unlock()
		}
	}
	return nil
}

func anyTarget(*target) bool { return true }

func (p *target) exists() bool { return p.current != "" }
