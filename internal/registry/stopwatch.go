package registry

import (
	"sync"
	"time"
)

// Stopwatch measures the sum of intervals. It is safe for concurrent use, and its
// zero value is ready to use. A nil Stopwatch measures nothing.
type Stopwatch struct {
	mu    sync.Mutex
	since time.Time // when the current interval began, zero if there is none
	sum   time.Duration
}

// Start begins an interval. It does nothing if one has begun already.
func (s *Stopwatch) Start() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		s.since = time.Now()
	}
}

// Stop ends the current interval, if one has begun.
func (s *Stopwatch) Stop() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.since.IsZero() {
		s.sum += time.Since(s.since)
		s.since = time.Time{}
	}
}

// Total returns the sum of all intervals, including the current one.
func (s *Stopwatch) Total() time.Duration {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		return s.sum
	}
	return s.sum + time.Since(s.since)
}
