package remote

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote/auth"
)

const (
	// maxBackoff bounds the exponential backoff.
	maxBackoff = 30 * time.Second
	// maxRetryAfter is the longest Retry-After that the client honors if the context has no
	// deadline.
	maxRetryAfter = 5 * time.Minute
)

// maxStalls is the maximum number of attempts without a response. Each attempt takes the
// whole timeout while the user waits.
const maxStalls = 2

// retry calls try until it succeeds, fails permanently, or the attempts are used up.
// Between two attempts it waits as long as the registry requests, or with exponential
// backoff and jitter. try receives the number of the attempt, starting with 1.
func (c *Client) retry(ctx context.Context, try func(attempt int) error) error {
	nextPause := c.newBackoff()
	for attempt := 1; ; attempt++ {
		err := try(attempt)
		if err == nil || attempt >= c.options.Attempts || attempt >= maxStalls && errors.Is(err, errStalled) || !isTransient(err) {
			return err
		}
		if cause := context.Cause(ctx); cause != nil {
			if !isResponseError(err) {
				return err // it already reports the timeout
			}
			return withInterruption(err, cause)
		}
		pause := nextPause()
		if requested := retryAfter(err); requested > 0 {
			if requested > timeLeft(ctx) {
				return waitTooLong(err, requested)
			}
			// Wait at least as long as requested, with jitter so that clients do not retry
			// simultaneously.
			pause = requested + rand.N(c.options.Backoff) //nolint:gosec // not security-sensitive
		}
		c.options.Logger.DebugContext(ctx, "retrying request", "after", pause, "attempt", attempt, "error", err)
		if cause := waitRetry(ctx, pause); cause != nil {
			return withInterruption(err, cause)
		}
	}
}

// newBackoff returns a function that returns the delays between attempts, one after the
// other.
func (c *Client) newBackoff() func() time.Duration {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = c.options.Backoff
	pause.Multiplier = 2
	pause.MaxInterval = maxBackoff
	return pause.NextBackOff
}

// waitRetry waits for d before a retry and reports the wait to the trace of ctx. It returns
// the error of sleep.
func waitRetry(ctx context.Context, d time.Duration) error {
	defer traceWait(ctx, registry.WaitRetry, time.Now())
	return sleep(ctx, d)
}

// sleep waits for d. If the context ends before that, it returns the cause.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// isTransient reports whether the same request may succeed if it is sent again.
func isTransient(err error) bool {
	if errors.As(err, new(permanent)) || errors.As(err, new(contentError)) {
		return false
	}
	if e, ok := errors.AsType[*registry.Error](err); ok && e.Status == http.StatusInsufficientStorage {
		return false // full storage remains full for a while
	}
	return errors.Is(err, registry.ErrUnavailable) || errors.Is(err, registry.ErrRateLimited)
}

// isResponseError reports whether err describes a response of a registry.
func isResponseError(err error) bool {
	e, ok := errors.AsType[*registry.Error](err)
	return ok && e.Status != 0
}

func timeLeft(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return maxRetryAfter
}

// waitTooLong adds to err that the registry requested a wait longer than the time that is
// left.
func waitTooLong(err error, requested time.Duration) error {
	return modifyError(err, func(e *registry.Error) {
		e.Message, e.Err = joinText(e.Message, fmt.Sprintf("it asks to wait %s, longer than this operation may take", requested)), nil
	})
}

// withInterruption adds to err why the operation ended before the next attempt.
func withInterruption(err, cause error) error {
	return modifyError(err, func(e *registry.Error) {
		const why = "there was no time to try again"
		if e.Err = fmt.Errorf("%s: %w", why, cause); errors.Is(cause, context.DeadlineExceeded) {
			e.Err = registry.WithText(cause, why) // why replaces the text of the deadline error
		}
	})
}

// modifyError returns a copy of err changed by change if err is a *registry.Error. It
// returns other errors unchanged.
func modifyError(err error, change func(*registry.Error)) error {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		return err
	}
	changed := *e
	change(&changed)
	return &changed
}

// joinText joins two texts, either of which may be empty.
func joinText(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ": " + b
}

// retryAfter returns how long the registry requested to wait, or 0.
func retryAfter(err error) time.Duration {
	wait, _ := errors.AsType[auth.WaitError](err)
	return wait.RetryAfter()
}
