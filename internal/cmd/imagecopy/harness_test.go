package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// output is the result of a run.
type output struct {
	status         int
	stdout, stderr string
}

// runImagecopy runs the command with a standard error that is not a terminal.
func runImagecopy(t *testing.T, args ...string) output {
	t.Helper()
	return runImagecopyContext(t.Context(), args...)
}

// runImagecopyContext runs the command until it ends or ctx ends.
func runImagecopyContext(ctx context.Context, args ...string) output {
	return runImagecopyStdin(ctx, strings.NewReader(""), args...)
}

// runImagecopyStdin runs the command with the given standard input.
func runImagecopyStdin(ctx context.Context, stdin io.Reader, args ...string) output {
	var stdout, stderr bytes.Buffer
	o, err := parse(args, stdin)
	if err != nil {
		return output{reportUsageError(err, &stdout, &stderr), stdout.String(), stderr.String()}
	}
	return output{run(ctx, o, &stdout, &stderr, false), stdout.String(), stderr.String()}
}

// mustParse parses a valid command line.
func mustParse(t *testing.T, args ...string) options {
	t.Helper()
	o, err := parse(args, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// expect fails the test if the exit status differs, or if standard error does not match the
// regular expression.
func (s output) expect(t *testing.T, status int, stderr string) {
	t.Helper()
	if s.status != status {
		t.Errorf("status %d, want %d; standard error:\n%s", s.status, status, s.stderr)
	}
	if !regexp.MustCompile(`^(?:` + stderr + `)$`).MatchString(s.stderr) {
		t.Errorf("standard error:\n%s\nwant it to match\n%s", s.stderr, stderr)
	}
}

// report decodes the report of a single copy.
func (s output) report(t *testing.T) map[string]any {
	t.Helper()
	return decode[map[string]any](t, s.stdout)
}

// reports decodes the reports of a list.
func (s output) reports(t *testing.T) []map[string]any {
	t.Helper()
	return decode[[]map[string]any](t, s.stdout)
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return v
}

// writeFile writes a file and returns its path.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// dockerConfig sets a Docker configuration with a login for a host, and returns the name of the
// file.
func dockerConfig(t *testing.T, host, user, password string) string {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	path := writeFile(t, "config.json", fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, host, auth))
	t.Setenv("DOCKER_CONFIG", filepath.Dir(path))
	return path
}
