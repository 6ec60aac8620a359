package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

func TestRun_EndToEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs and fills registries, which takes seconds; run without -short")
	}
	out := filepath.Join(t.TempDir(), "page.md")
	var output bytes.Buffer
	if err := run(t.Context(), []string{"-rtt", "0", "-runs", "1", "-tls", "-only", "noop", "-out", out}, nil, &output); err != nil {
		t.Fatalf("run() = %v, output:\n%s", err, &output)
	}
	page, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, transport := range []string{"plain HTTP", "TLS"} {
		row := regexp.MustCompile(`No delay, ` + transport + `:\n\n.*\n.*\n\| imagecopy \| .* \| \*{0,2}2 \(HEAD 2\)\*{0,2} \| \*{0,2}2\*{0,2} \|`)
		if !row.Match(page) {
			t.Errorf("page for %s has no row of imagecopy with two requests:\n%s", transport, page)
		}
	}
	if bytes.Contains(page, []byte("registry-bench-")) {
		t.Error("the page contains a path of this machine")
	}
}
