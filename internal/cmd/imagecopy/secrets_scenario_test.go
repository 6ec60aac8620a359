package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Users paste URLs with credentials, and the standard error of a command ends up in the logs of
// a CI system.
func TestReportUsageError_RedactsSecrets(t *testing.T) {
	list := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(list, []byte("ci:s3cret@ghcr.io/app b.c/d:1\nalpine b.c/d:1?token=s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"https://ci:s3cret@ghcr.io/app", "b.c/d:1"},
		{"ci:s3cret@ghcr.io/app:1", "b.c/d:1"},
		{"a", "b.c/d:1?token=s3cret"},
		{"a", "ci:s3cret@b.c/d"},
		{"a", "b.c/d#s3cret"},
		{"oci:https://ci:s3cret@ghcr.io/app", "b.c/d:1"},
		{"oci:./app?token=s3cret", "b.c/d:1"},
		{"a", "oci:./app:1?token=s3cret"},
		{"a", "oci:ci:s3cret@app"},
		{"docker-archive:app.tar?token=s3cret", "b.c/d:1"},
		{"-platforms", "https://ci:s3cret@ghcr.io/app", "b.c/d:1"},
		{"-platforms=ci:s3cret@ghcr.io/app", "a", "b.c/d:1"},
		{"-referrers=ci:s3cret@ghcr.io/app", "a", "b.c/d:1"},
		{"-plain-http=b.c,ci:s3cret@ghcr.io", "a", "b.c/d:1"},
		{"-plain-http=ghcr.io?token=s3cret", "a", "b.c/d:1"},
		{"-max-concurrent-requests", "ghcr.io/app?token=s3cret\x1b", "b.c/d:1"},
		{"-ci:s3cret@ghcr.io/app", "b.c/d:1"},
		{"-list", "https://ci:s3cret@ghcr.io/list"},
		{"-list", list},
		{"-ca", "https://ci:s3cret@ghcr.io/ca.pem", "a", "b.c/d:1"},
	} {
		o, err := parse(args, strings.NewReader(""))
		if err == nil {
			_, err = o.client(slog.New(slog.DiscardHandler))
		}
		if err == nil {
			t.Errorf("%q is accepted", args)
			continue
		}
		var stdout, stderr strings.Builder
		if status := reportUsageError(err, &stdout, &stderr); status != invalidUsage {
			t.Errorf("misuse(%q) = %d", args, status)
		}
		if text := stdout.String() + stderr.String(); strings.Contains(text, "s3cret") || !strings.Contains(text, "***") {
			t.Errorf("output of %q = %q, want the secret redacted", args, text)
		}
	}
}
