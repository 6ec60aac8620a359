package registrytest

import (
	"testing"

	"go.uber.org/goleak"
)

// NoLeaks fails the test where it leaves goroutines behind. Call it before
// anything else in a test that does not run in parallel with others: it looks
// after every cleanup that was registered later, when servers and their
// connections have gone.
func NoLeaks(t testing.TB) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := goleak.Find(before); err != nil {
			t.Error(err)
		}
	})
}
