//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package layout_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// impatient is a context that ends when somebody waits with it for the second
// time: after its turn in this process, for another process.
type impatient struct {
	context.Context
	waits int
	end   func()
}

func (c *impatient) Done() <-chan struct{} {
	if c.waits++; c.waits == 2 {
		c.end()
	}
	return c.Context.Done()
}

// A process that has a folder open has locks of its own for each time it opened
// it, so that the test can be the other process.
func TestAnIndexWaitsForAnotherProcess(t *testing.T) {
	dir := registrytest.Layout(t, map[string]registrytest.Content{"1": registrytest.Image{Seed: "a"}})
	other, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	reason := errors.New("waited for long enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	waiting := &impatient{Context: ctx, end: func() { cancel(reason) }}
	if err := create(t, dir).DeleteTag(waiting, "1"); !errors.Is(err, reason) {
		t.Errorf("it did not wait: %v", err)
	}
	if tags := registrytest.LayoutTags(t, dir); !slices.Contains(tags, "1") {
		t.Errorf("the tags are %v", tags)
	}
	_ = other.Close()
	if err := create(t, dir).DeleteTag(t.Context(), "1"); err != nil {
		t.Errorf("after it: %v", err)
	}
}
