package main

import (
	"strings"
	"testing"
	"testing/synctest"
)

func TestExceeded_Goroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := restingFootprint()
		end := make(chan struct{})
		for range goroutineAllowance + 1 {
			go lingers(end)
		}
		_, found := before.exceeded(t.Context())
		close(end)
		if len(found) != 1 || !strings.Contains(found[0], "soak.lingers") {
			t.Errorf("exceeded() = %q", found)
		}
		if _, found := before.exceeded(t.Context()); len(found) != 0 {
			t.Errorf("exceeded() after the goroutines ended = %q", found)
		}
	})
}

func lingers(end chan struct{}) { <-end }

var kept []byte

func TestExceeded_Memory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := restingFootprint()
		kept = make([]byte, heapAllowance+1<<20)
		_, found := before.exceeded(t.Context())
		kept = nil
		if len(found) != 1 || !strings.Contains(found[0], "are in use") {
			t.Errorf("exceeded() = %q", found)
		}
	})
}
