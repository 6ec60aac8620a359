package copier

import (
	"io"
	"strings"
	"testing"
)

func TestMeter_Restart(t *testing.T) {
	t.Parallel()
	c := New(nil)
	m := c.progress.meter(10)
	expect := func(when string, known, done int64) {
		t.Helper()
		if p := c.Progress(); p.Known != known || p.Done != done {
			t.Errorf("Progress() %s = %+v, want %d of %d", when, p, done, known)
		}
	}
	read := func(r io.Reader, n int) {
		t.Helper()
		if _, err := io.ReadFull(r, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	content := func() io.ReadCloser { return io.NopCloser(strings.NewReader("0123456789")) }
	first := m.read(content())
	read(first, 4)
	expect("after four bytes", 10, 4)
	m.restart()
	second := m.read(content())
	read(second, 7)
	read(first, 6) // a transport may still read a canceled body
	expect("after seven bytes of the next", 10, 7)
	m.abandon()
	read(second, 3)
	expect("after it was abandoned", 7, 7)
}
