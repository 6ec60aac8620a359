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

// cancelsOnSecondWait is a context that ends when Done is called for the second time: after the
// lock within this process, while waiting for another process.
type cancelsOnSecondWait struct {
	context.Context
	waits int
	end   func()
}

func (c *cancelsOnSecondWait) Done() <-chan struct{} {
	if c.waits++; c.waits == 2 {
		c.end()
	}
	return c.Context.Done()
}

// A process has a separate lock for each time that it opens a folder, so that the test can act
// as the other process.
func TestDeleteTag_WaitsForOtherProcess(t *testing.T) {
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
	waiting := &cancelsOnSecondWait{Context: ctx, end: func() { cancel(reason) }}
	if err := create(t, dir).DeleteTag(waiting, "1"); !errors.Is(err, reason) {
		t.Errorf("DeleteTag() = %v, want it to wait for the lock", err)
	}
	if tags := registrytest.LayoutTags(t, dir); !slices.Contains(tags, "1") {
		t.Errorf("tags = %v, want 1 to be kept", tags)
	}
	_ = other.Close()
	if err := create(t, dir).DeleteTag(t.Context(), "1"); err != nil {
		t.Errorf("DeleteTag() after the lock was released = %v", err)
	}
}
