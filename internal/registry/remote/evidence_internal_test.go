package remote

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestEvidence_Once(t *testing.T) {
	t.Run("canceled_caller", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var e evidence
			release, left := make(chan struct{}), make(chan struct{})
			go e.once(t.Context(), func() bool {
				<-release
				return true
			})
			synctest.Wait()
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				e.once(ctx, func() bool {
					t.Error("once() called the function of the second caller")
					return true
				})
				close(left)
			}()
			synctest.Wait() // the second caller waits for the first one
			cancel()
			<-left
			close(release)
		})
	})
	t.Run("retry_after_failure", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var e evidence
			calls := make(chan bool, 4)
			release := make(chan struct{})
			for _, succeeds := range []bool{false, true, true} {
				go e.once(t.Context(), func() bool {
					calls <- succeeds
					<-release
					return succeeds
				})
				synctest.Wait()
			}
			close(release)
			synctest.Wait()
			if len(calls) != 2 || <-calls || !<-calls {
				t.Error("once() did not call exactly one more function after a failure")
			}
		})
	})
}
