package main

import (
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		walls []time.Duration
		want  time.Duration
		heads int // of that run
	}{
		{[]time.Duration{7}, 7, 0},
		{[]time.Duration{9, 1, 5}, 5, 2},
		{[]time.Duration{4, 3, 2, 1}, 3, 1},
		{[]time.Duration{5, 5, 5, 5, 1}, 5, 1},
	} {
		if got := timed("a", c.walls...).median(); got.wall != c.want || got.requests["HEAD"] != c.heads {
			t.Errorf("median() of %v = %d with %d HEADs, want %d with %d", c.walls, got.wall, got.requests["HEAD"], c.want, c.heads)
		}
	}
}

func TestDifference(t *testing.T) {
	s := sample{requests: difference(map[string]int{"GET": 5, "PUT": 2, "HEAD": 3}, map[string]int{"GET": 1, "HEAD": 3})}
	if got, want := s.methods(), "GET 4, PUT 2"; got != want || s.total() != 6 {
		t.Errorf("difference() = %d requests, %q, want 6, %q", s.total(), got, want)
	}
}
