package layout

import "time"

// Intercept makes the layout call f before each operation on one of its files: "write", "sync"
// or "rename", with the name of the file in the layout. The operation fails if f returns an
// error.
func (l *Layout) Intercept(f func(op, name string) error) { l.intercept = f }

// AbandonedWithoutLocks reports whether a temporary file that cannot be locked counts as
// abandoned after it was not modified for the given time.
func AbandonedWithoutLocks(unchanged time.Duration) bool {
	return abandoned(lockUnsupported, unchanged)
}
