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
	// longestPause bounds the time that doubles.
	maxBackoff = 30 * time.Second
	// longestWait is what a registry may ask a client to wait that has no
	// deadline of its own.
	maxRetryAfter = 5 * time.Minute
)

// stalls is how often in all something is tried that nobody answers: each time
// costs the whole patience, and a person waits.
const maxStalls = 2

// retry calls try until it succeeds, fails for good, or the attempts are used
// up, and waits between them: for what the registry asks, or a time that
// doubles, with jitter. try gets the number of the attempt, from 1.
func (c *Client) retry(ctx context.Context, try func(attempt int) error) error {
	nextPause := c.newBackoff()
	for attempt := 1; ; attempt++ {
		err := try(attempt)
		if err == nil || attempt >= c.options.Attempts || attempt >= maxStalls && errors.Is(err, errStalled) || !isTransient(err) {
			return err
		}
		if cause := context.Cause(ctx); cause != nil {
			if !isResponseError(err) {
				return err // which says that nobody answered in time
			}
			return withInterruption(err, cause)
		}
		pause := nextPause()
		if requested := retryAfter(err); requested > 0 {
			if requested > timeLeft(ctx) {
				return waitTooLong(err, requested)
			}
			// Not sooner, and not all who were asked to wait at the same instant.
			pause = requested + rand.N(c.options.Backoff) //nolint:gosec // nobody gains by guessing it
		}
		c.options.Logger.DebugContext(ctx, "it is tried again", "after", pause, "attempt", attempt, "error", err)
		if cause := waitRetry(ctx, pause); cause != nil {
			return withInterruption(err, cause)
		}
	}
}

// pauses gives the waits between attempts, one after the other.
func (c *Client) newBackoff() func() time.Duration {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = c.options.Backoff
	pause.Multiplier = 2
	pause.MaxInterval = maxBackoff
	return pause.NextBackOff
}

// pauseFor waits for d before something is tried again, as sleep does.
func waitRetry(ctx context.Context, d time.Duration) error {
	defer traceWait(ctx, registry.WaitRetry, time.Now())
	return sleep(ctx, d)
}

// sleep waits for d. It returns why the context ended before that.
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

// transient says whether the same request may succeed if it is sent again.
func isTransient(err error) bool {
	if errors.As(err, new(permanent)) || errors.As(err, new(contentError)) {
		return false
	}
	if e, ok := errors.AsType[*registry.Error](err); ok && e.Status == http.StatusInsufficientStorage {
		return false // storage that is full stays full for a while
	}
	return errors.Is(err, registry.ErrUnavailable) || errors.Is(err, registry.ErrRateLimited)
}

// answered says whether an error is what a registry answered.
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

// tooLong is the error of a wait that nobody can afford.
func waitTooLong(err error, requested time.Duration) error {
	return modifyError(err, func(e *registry.Error) {
		e.Message, e.Err = joinText(e.Message, fmt.Sprintf("it asks to wait %s, longer than this operation may take", requested)), nil
	})
}

// interrupted is the error of an operation that ended while it waited for the
// next attempt.
func withInterruption(err, cause error) error {
	return modifyError(err, func(e *registry.Error) {
		const why = "there was no time to try again"
		if e.Err = fmt.Errorf("%s: %w", why, cause); errors.Is(cause, context.DeadlineExceeded) {
			e.Err = registry.WithText(cause, why) // which says it
		}
	})
}

// amended is a copy of an error with a change, where it is a *registry.Error.
func modifyError(err error, change func(*registry.Error)) error {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		return err
	}
	changed := *e
	change(&changed)
	return &changed
}

// join puts two texts together, either of which may be empty.
func joinText(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ": " + b
}

// retryAfter is how long err asks to wait, 0 where it does not.
func retryAfter(err error) time.Duration {
	wait, _ := errors.AsType[auth.WaitError](err)
	return wait.RetryAfter()
}
