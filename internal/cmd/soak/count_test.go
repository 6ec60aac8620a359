package main

import (
	"errors"
	"strings"
	"testing"
)

func TestCount_FailedAttempts(t *testing.T) {
	var c count
	for _, err := range []error{errors.New("surprise"), errors.New("another")} {
		c.failed(err)
	}
	if n, kinds := c.failedAttempts(); n != 2 || !strings.Contains(kinds, "2 × of no kind") {
		t.Errorf("failedAttempts() = %d, %s", n, kinds)
	}
}
