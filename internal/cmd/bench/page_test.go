package main

import (
	"strings"
	"testing"
	"time"
)

func TestMarkdown(t *testing.T) {
	p := &page{date: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC), machine: "a | machine", versions: []string{"Go 1", "crane: 2"}, rerunFlags: "-runs 5", lines: []string{"- crane: `crane copy {src} {dst}`"}}
	p.sections = []*section{{scenario: scenario{name: "tiny", description: "Little."}}}
	p.add(scenario{name: "tiny"}, setting{tls: true, rtt: 20 * time.Millisecond}, []row{timed("crane", time.Second)})
	got := p.markdown()
	for _, want := range []string{
		"| Date | 2025-03-01 |\n", `| Machine | a \| machine |`, "| Versions | Go 1; crane: 2 |\n", "`make bench BENCH='-runs 5'`",
		"\n## tiny\n\nLittle.\n\n20 ms, TLS:\n\n| copier |",
		"\n## Command lines\n\n- crane: `crane copy {src} {dst}`\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("markdown() does not contain %q:\n%s", want, got)
		}
	}
}
