package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// longestWait is what a registry may ask a client to wait that has no deadline
// of its own.
const longestWait = 5 * time.Minute

// retry calls try until it succeeds, fails for good, or the attempts are used
// up, and waits between them: for what the registry asks, or a time that
// doubles, with jitter. try gets the number of the attempt, from 1.
func (c *Client) retry(ctx context.Context, try func(attempt int) error) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = c.options.Backoff
	pause.Multiplier = 2
	pause.MaxInterval = 30 * time.Second
	for attempt := 1; ; attempt++ {
		err := try(attempt)
		if err == nil || attempt >= c.options.Attempts || ctx.Err() != nil || !transient(err) {
			return err
		}
		wait := pause.NextBackOff()
		if asked := retryAfter(err); asked > 0 {
			if asked > timeLeft(ctx) {
				return tooLong(err, asked)
			}
			wait = asked
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// transient says whether the same request may succeed if it is sent again.
func transient(err error) bool {
	if errors.As(err, new(permanent)) || errors.As(err, new(contentError)) {
		return false
	}
	return errors.Is(err, registry.ErrUnavailable) || errors.Is(err, registry.ErrRateLimited)
}

func timeLeft(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return longestWait
}

func tooLong(err error, asked time.Duration) error {
	var e *registry.Error
	if !errors.As(err, &e) {
		return err
	}
	quoted := *e
	quoted.Message = strings.TrimPrefix(quoted.Message+": ", ": ") + fmt.Sprintf("it asks to wait %s, longer than this operation may take", asked)
	return &quoted
}

// waitError carries how long a registry asks to wait before the next try.
type waitError struct{ wait time.Duration }

func (e *waitError) Error() string { return fmt.Sprintf("it asks to wait %s", e.wait) }

// RetryAfter is how long to wait.
func (e *waitError) RetryAfter() time.Duration { return e.wait }

// retryAfter is how long err asks to wait, 0 where it does not.
func retryAfter(err error) time.Duration {
	var asked interface{ RetryAfter() time.Duration }
	if errors.As(err, &asked) {
		return asked.RetryAfter()
	}
	return 0
}

// parseRetryAfter reads a Retry-After header (RFC 9110, section 10.2.3):
// seconds or a date. What is neither, negative or past is 0.
func parseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(24*time.Hour/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
