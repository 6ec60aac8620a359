package registrytest

import (
	"testing"

	"go.uber.org/goleak"
)

// NoLeaks fails the test if it leaves goroutines behind. It must be called first in the test,
// because it checks after all cleanups that are registered later, when servers and connections
// are closed. The test must not run in parallel with others.
func NoLeaks(t testing.TB) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := goleak.Find(before); err != nil {
			t.Error(err)
		}
	})
}
