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

// acceptance returns the terraform or tofu to test with, and a directory in which
// everything shows that the demo leaves behind.
func acceptance(t *testing.T) (program, temp string) {
	t.Helper()
	if testing.Short() {
		t.Skip("drives a real terraform, which takes seconds; run without -short")
	}
	program, err := find(os.Getenv("TF_ACC_TERRAFORM_PATH"))
	if err != nil {
		t.Skipf("drives a real terraform: %v; TF_ACC_TERRAFORM_PATH can name one", err)
	}
	temp = t.TempDir()
	t.Setenv("TMPDIR", temp)
	return program, temp
}

// noFiles fails the test where something is in a temporary directory.
func noFiles(t *testing.T, temp string) {
	t.Helper()
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
}

// nothingLeft fails the test where the demo left files, or a registry that
// listens at one of the addresses that it printed.
func nothingLeft(t *testing.T, temp, printed string) {
	t.Helper()
	noFiles(t, temp)
	addresses := regexp.MustCompile(`(?m)^ +(?:source|destination) +(127\.0\.0\.1:\d+)`).FindAllStringSubmatch(printed, -1)
	if len(addresses) != 2 {
		t.Fatalf("two registries were to be started; it printed\n%s", printed)
	}
	for _, a := range addresses {
		if conn, err := net.Dial("tcp", a[1]); err == nil {
			conn.Close()
			t.Errorf("a registry still listens at %s", a[1])
		}
	}
}

func TestItShowsAWholePromotionAndLeavesNothing(t *testing.T) {
	terraform, temp := acceptance(t)
	var out bytes.Buffer
	if err := run(t.Context(), &out, terraform); err != nil {
		t.Fatalf("%v; it printed\n%s", err, &out)
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
			t.Errorf("it did not print %s", want)
		}
	}
	if t.Failed() {
		t.Logf("it printed\n%s", &out)
	}
	nothingLeft(t, temp, out.String())
}

func TestInterruptedItLeavesNothing(t *testing.T) {
	terraform, temp := acceptance(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// What is printed next is the command that is about to run.
	out := &watched{text: "4. Plan", seen: cancel}
	if err := run(ctx, out, terraform); err == nil {
		t.Error("no error, although it was interrupted")
	}
	nothingLeft(t, temp, out.String())
}

// watched calls seen once text was written to it.
type watched struct {
	bytes.Buffer
	text string
	seen func()
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), w.text) {
		w.seen()
	}
	return n, err
}

// built is one of the commands.
func built(t *testing.T, command string) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "command.exe") // the suffix is for Windows, and harms nowhere else
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, command).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return program
}

// goes puts a go command on PATH that does something else.
func goes(t *testing.T, script string) {
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

// A build that is interrupted does not remove what it has made so far.
func TestABuildThatDoesNotCleanUpLeavesNothing(t *testing.T) {
	goes(t, `[ "$1" = list ] && exit
mktemp -d "${GOTMPDIR:-$TMPDIR}/go-buildXXXXXX" && mktemp "$TMPDIR/ccXXXXXX" && exit 1`)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("GOTMPDIR", temp)
	err := run(t.Context(), io.Discard, os.Args[0])
	if err == nil || !strings.Contains(err.Error(), "go-build") || !strings.Contains(err.Error(), "cc") {
		t.Errorf("error = %v, want that of a build that made its files", err)
	}
	noFiles(t, temp)
}

// It ends as after an error, and not by the signal of a write into a closed pipe.
func TestWhereNobodyReadsItsOutputItLeavesNothing(t *testing.T) {
	program := built(t, ".")
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
		t.Errorf("it ended with %v and said %q", err, &stderr)
	}
	noFiles(t, temp)
}

// A terraform that is interrupted goes on asking the registries until it ends.
func TestARegistryOutlivesAnInterruption(t *testing.T) {
	program := built(t, "../registry-v3")
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
		t.Error("it still listens")
	}
}

func TestATerraformThatFailsEndsItAndLeavesNothing(t *testing.T) {
	_, temp := acceptance(t)
	program := filepath.Join(t.TempDir(), "terraform")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no plan today >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := run(t.Context(), &out, program)
	if err == nil || !strings.Contains(err.Error(), "terraform plan: exit status 1\nno plan today") {
		t.Errorf("error = %v", err)
	}
	nothingLeft(t, temp, out.String())
}

func TestWithoutTerraformItSaysWhatItLookedFor(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var out bytes.Buffer
	err := run(t.Context(), &out, "")
	if err == nil || err.Error() != "found no program terraform or tofu" {
		t.Errorf("error = %v", err)
	}
}
