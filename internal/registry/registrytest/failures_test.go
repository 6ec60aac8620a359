package registrytest_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
)

// failing is a testing.TB whose failures are looked at instead of failing
// anything.
type failing struct {
	testing.TB // nil: what is not below must not be called
	said       strings.Builder
	cleanups   []func()
}

// failures runs f with a testing.TB of its own and returns what it said in
// failing, "" where it did not.
func failures(f func(testing.TB)) string {
	t := &failing{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for i := len(t.cleanups) - 1; i >= 0; i-- {
				t.cleanups[i]()
			}
		}()
		f(t)
	}()
	<-done
	return t.said.String()
}

func (t *failing) Helper()                  {}
func (t *failing) Context() context.Context { return context.Background() }
func (t *failing) Cleanup(f func())         { t.cleanups = append(t.cleanups, f) }
func (t *failing) Error(args ...any)        { fmt.Fprintln(&t.said, args...) }

func (t *failing) TempDir() string {
	dir, err := os.MkdirTemp("", "registrytest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (t *failing) Fatal(args ...any) {
	fmt.Fprintln(&t.said, args...)
	runtime.Goexit()
}

func (t *failing) Fatalf(format string, args ...any) { t.Fatal(fmt.Sprintf(format, args...)) }
