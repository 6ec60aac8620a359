package registrytest_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// fakeTB is a testing.TB that records failures instead of failing the test. Its cleanups run
// when the function under test returns.
type fakeTB struct {
	testing.TB
	messages strings.Builder
	cleanups []func()
}

// failures runs f with a fakeTB and returns its failure messages, or "" if f did not fail.
func failures(t *testing.T, f func(testing.TB)) string {
	t.Helper()
	inner := &fakeTB{TB: t}
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
	return inner.messages.String()
}

func (t *fakeTB) Cleanup(f func())  { t.cleanups = append(t.cleanups, f) }
func (t *fakeTB) Error(args ...any) { fmt.Fprintln(&t.messages, args...) }

func (t *fakeTB) Fatal(args ...any) {
	fmt.Fprintln(&t.messages, args...)
	runtime.Goexit()
}

func (t *fakeTB) Fatalf(format string, args ...any) { t.Fatal(fmt.Sprintf(format, args...)) }
