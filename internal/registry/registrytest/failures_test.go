package registrytest_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// failing is a testing.TB whose failures are looked at instead of failing
// anything, and whose cleanups run when the function under test is done.
type failing struct {
	testing.TB
	said     strings.Builder
	cleanups []func()
}

// failures runs f with a testing.TB of its own and returns what it said in
// failing, "" where it did not.
func failures(t *testing.T, f func(testing.TB)) string {
	t.Helper()
	inner := &failing{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, cleanup := range slices.Backward(inner.cleanups) {
				cleanup()
			}
		}()
		f(inner)
	}()
	<-done
	return inner.said.String()
}

func (t *failing) Cleanup(f func())  { t.cleanups = append(t.cleanups, f) }
func (t *failing) Error(args ...any) { fmt.Fprintln(&t.said, args...) }

func (t *failing) Fatal(args ...any) {
	fmt.Fprintln(&t.said, args...)
	runtime.Goexit()
}

func (t *failing) Fatalf(format string, args ...any) { t.Fatal(fmt.Sprintf(format, args...)) }
