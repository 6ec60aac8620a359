package main

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// screen is a terminal that signals when progress is drawn.
type screen struct {
	mu    sync.Mutex
	shown bytes.Buffer
	drawn chan struct{} // closed by the first line of progress
	once  sync.Once
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Contains(p, []byte("B/s")) {
		s.once.Do(func() { close(s.drawn) })
	}
	return s.shown.Write(p)
}

func TestProgress_Terminal(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	reg.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	source := registrytest.Intercept(t, reg)
	terminal := &screen{drawn: make(chan struct{})}
	source.On("GET", "/v2/app/blobs/.*").Hold(terminal.drawn)
	status := run(t.Context(), mustParse(t, "-q", source.Ref("app", "1"), reg.Ref("prod", "1")), io.Discard, terminal, true)
	line := clearLine + "[^\r\n]* of [^\r\n]*B/s[^\r\n]*"
	want := "^(" + line + ")+" + clearLine + "[^\r\n]+ copied, [^\r\n]+ mounted, [^\r\n]+ already there, in [^\r\n]+\n$"
	want = strings.ReplaceAll(want, clearLine, regexp.QuoteMeta(clearLine))
	if status != succeeded || !regexp.MustCompile(want).Match(terminal.shown.Bytes()) {
		t.Errorf("status = %d, terminal =\n%q\nwant it to match\n%q", status, terminal.shown.String(), want)
	}
}

func TestProgress_WithoutLog(t *testing.T) {
	reg := registrytest.Scripted(t, registrytest.Behaviour{})
	pushed := reg.Push(t, "app", "1", registrytest.Image{Seed: "a"})
	for _, flag := range []string{"-v", "-trace"} {
		var terminal bytes.Buffer
		run(t.Context(), mustParse(t, "-q", flag, pushed.Ref, reg.Ref("prod", "1")), io.Discard, &terminal, true)
		for line := range strings.Lines(terminal.String()) {
			if !strings.HasPrefix(line, "time=") {
				t.Errorf("%s printed the line %q, want only log lines", flag, line)
			}
		}
	}
}

func TestProgressLine(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		progress copier.Progress
		elapsed  time.Duration
		want     string
	}{
		{copier.Progress{}, 0, "0 B of 0 B, 0 B/s"},
		{copier.Progress{Known: 100 * mib}, time.Second, "0 B of 100.0 MiB, 0 B/s"},
		{copier.Progress{Known: 100 * mib, Done: 25 * mib}, 5 * time.Second, "25.0 MiB of 100.0 MiB, 5.0 MiB/s, 15s left"},
		{copier.Progress{Known: 100 * mib, Done: 99 * mib}, 10 * time.Second, "99.0 MiB of 100.0 MiB, 9.9 MiB/s, 1s left"},
		{copier.Progress{Known: 3 << 30, Done: 1 << 30}, 8 * time.Second, "1.0 GiB of 3.0 GiB, 128.0 MiB/s, 16s left"},
		{copier.Progress{Known: 1000, Done: 1000}, time.Second, "1000 B of 1000 B, 1000 B/s"},
		{copier.Progress{Known: 1000, Done: 1500}, time.Second, "1.5 KiB of 1000 B, 1.5 KiB/s"},
		{copier.Progress{Known: 1<<63 - 1, Done: 1}, time.Second, "1 B of 8589934592.0 GiB, 1 B/s"},
	} {
		if got := progressLine(c.progress, c.elapsed); got != c.want {
			t.Errorf("progressLine(%+v, %s) = %q, want %q", c.progress, c.elapsed, got, c.want)
		}
	}
}

func TestProgress_List(t *testing.T) {
	b := &batch{engine: copier.New(nil), pairs: make([]pair, 3)}
	b.ended.Add(2)
	if got, want := b.progress(time.Second), "2 of 3 copies, 0 B of 0 B, 0 B/s"; got != want {
		t.Errorf("progress() = %q, want %q", got, want)
	}
}
