package registry

import (
	"errors"
	"fmt"
	"time"
)

// ErrSourceSlow is the cause of an upload that was ended because its source sent
// the content too slowly while other uploads waited. It is not an error of the
// destination.
var ErrSourceSlow = errors.New("the source sent the blob too slowly")

// BusyError is the error of an operation whose context ended while it waited for
// another operation of the process.
type BusyError struct {
	// For describes the resource, as in "one of the host's request slots".
	For string
	// Holder describes the operation that used the resource, "" if it is not known.
	Holder string
	// Took is how long the operation waited.
	Took time.Duration
	// Err is why the wait ended.
	Err error
}

func (e *BusyError) Error() string {
	if e.Holder == "" {
		return fmt.Sprintf("the operation waited for %s: %s", e.For, e.Err)
	}
	return fmt.Sprintf("the operation waited for %s, which was in use by %s: %s", e.For, e.Holder, e.Err)
}

// Unwrap returns why the wait ended.
func (e *BusyError) Unwrap() error { return e.Err }
