package layout

import "time"

// Intercept makes f decide which operations on files of the layout fail: "write",
// "sync" and "rename", with the name of the file in the layout.
func (l *Layout) Intercept(f func(op, name string) error) { l.intercept = f }

// AbandonedWithoutLocks reports whether a temporary file that cannot be locked counts as
// abandoned after a time without writes.
func AbandonedWithoutLocks(unchanged time.Duration) bool {
	return abandoned(lockUnsupported, unchanged)
}
