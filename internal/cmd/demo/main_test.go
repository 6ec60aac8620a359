package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/child"
)

// setUp returns the terraform or tofu to test with, and a temporary directory in which all
// files of the demo are created.
func setUp(t *testing.T) (program, temp string) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs terraform, which takes seconds; run without -short")
	}
	program, err := findTerraform(os.Getenv("TF_ACC_TERRAFORM_PATH"))
	if err != nil {
		t.Skipf("runs terraform: %v; TF_ACC_TERRAFORM_PATH can name one", err)
	}
	temp = t.TempDir()
	t.Setenv("TMPDIR", temp)
	return program, temp
}

// wantEmptyDir fails the test if a temporary directory has entries.
func wantEmptyDir(t *testing.T, temp string) {
	t.Helper()
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("ReadDir() of the temporary directory = %v, %v, want no entries", left, err)
	}
}

// wantCleanUp fails the test if the demo left files, or a registry that still listens at one of
// the printed addresses.
func wantCleanUp(t *testing.T, temp, printed string) {
	t.Helper()
	wantEmptyDir(t, temp)
	addresses := regexp.MustCompile(`(?m)^ +(?:source|destination) +(127\.0\.0\.1:\d+)`).FindAllStringSubmatch(printed, -1)
	if len(addresses) != 2 {
		t.Fatalf("output has %d registry addresses, want 2:\n%s", len(addresses), printed)
	}
	for _, a := range addresses {
		if conn, err := net.Dial("tcp", a[1]); err == nil {
			conn.Close()
			t.Errorf("a registry still listens at %s", a[1])
		}
	}
}

func TestRun(t *testing.T) {
	terraform, temp := setUp(t)
	var out bytes.Buffer
	if err := run(t.Context(), &out, terraform); err != nil {
		t.Fatalf("run() = %v, output:\n%s", err, &out)
	}
	before, after := appImage("first build"), appImage("second build")
	for _, want := range []string{
		`app    = 127\.0\.0\.1:\d+/prod/app@` + before.root().digest(),
		`prod/app:stable\n +` + before.root().digest() + `\n +application/vnd\.oci\.image\.index\.v1\+json: identical`,
		`application/vnd\.docker\.distribution\.manifest\.v2\+json: identical`,
		`No changes\.`,
		`~ digest +=? *"?` + before.root().digest() + `"? -> "?` + after.root().digest(),
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("output does not match %s", want)
		}
	}
	if t.Failed() {
		t.Logf("output:\n%s", &out)
	}
	wantCleanUp(t, temp, out.String())
}

func TestRun_Interrupted(t *testing.T) {
	terraform, temp := setUp(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The next output after this title is the command that is about to run.
	out := &watchedBuffer{text: "4. Plan", seen: cancel}
	if err := run(ctx, out, terraform); err == nil {
		t.Error("run() succeeded although it was interrupted")
	}
	wantCleanUp(t, temp, out.String())
}

// watchedBuffer is a buffer that calls seen when text was written to it.
type watchedBuffer struct {
	bytes.Buffer
	text string
	seen func()
}

func (w *watchedBuffer) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), w.text) {
		w.seen()
	}
	return n, err
}

// buildCommand builds a command and returns its path.
func buildCommand(t *testing.T, command string) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "command.exe") // Windows requires the suffix
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, command).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return program
}

// fakeGo puts a go command on PATH that runs script.
func fakeGo(t *testing.T, script string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("a go command of the test's own is a script, which Windows does not run")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

// An interrupted build does not remove its temporary files.
func TestRun_BuildLeavesFiles(t *testing.T) {
	fakeGo(t, `[ "$1" = list ] && exit
mktemp -d "${GOTMPDIR:-$TMPDIR}/go-buildXXXXXX" && mktemp "$TMPDIR/ccXXXXXX" && exit 1`)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("GOTMPDIR", temp)
	err := run(t.Context(), io.Discard, os.Args[0])
	if err == nil || !strings.Contains(err.Error(), "go-build") || !strings.Contains(err.Error(), "cc") {
		t.Errorf("run() = %v, want the error of the build with its temporary files", err)
	}
	wantEmptyDir(t, temp)
}

// The demo fails with an error instead of being ended by SIGPIPE.
func TestRun_ClosedOutput(t *testing.T) {
	program := buildCommand(t, ".")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	reader.Close()
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	cmd := exec.CommandContext(t.Context(), program, "-terraform", program)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = writer, &stderr
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 || !strings.HasPrefix(stderr.String(), "\nThe demo failed: what it shows cannot be written: ") {
		t.Errorf("demo ended with %v, standard error = %q", err, &stderr)
	}
	wantEmptyDir(t, temp)
}

// An interrupted terraform still sends requests to the registries until it ends.
func TestStartRegistry_OutlivesContext(t *testing.T) {
	program := buildCommand(t, "../registry-v3")
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	p, err := child.StartRegistry(ctx, program)
	if err != nil {
		t.Fatal(err)
	}
	if err := (registry{p.Address}).push(t.Context(), appSource, appTag, appImage("a build")); err != nil {
		t.Error(err)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", p.Address); err == nil {
		conn.Close()
		t.Error("the registry still listens after Stop()")
	}
}

func TestRun_TerraformFails(t *testing.T) {
	_, temp := setUp(t)
	program := filepath.Join(t.TempDir(), "terraform")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no plan today >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := run(t.Context(), &out, program)
	if err == nil || !strings.Contains(err.Error(), "terraform plan: exit status 1\nno plan today") {
		t.Errorf("error = %v", err)
	}
	wantCleanUp(t, temp, out.String())
}

func TestRun_TerraformMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var out bytes.Buffer
	err := run(t.Context(), &out, "")
	if err == nil || err.Error() != "found no program terraform or tofu" {
		t.Errorf("error = %v", err)
	}
}
