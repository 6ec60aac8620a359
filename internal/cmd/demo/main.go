// Command demo shows the provider at work, and checks what it shows: it starts
// two real registries on this machine, promotes two images from the one to the
// other with terraform or tofu, and compares what arrived with what was sent.
//
//	go run ./internal/cmd/demo
//
// It exits with status 0 only when everything was as it says. Nothing of it is
// left afterwards, also when it is interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	path := flag.String("terraform", "", "the terraform or tofu `program` to run; by default what is on PATH")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Stdout, *path)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "\nInterrupted. The registries are stopped and all files removed.")
		os.Exit(130)
	case err != nil:
		fmt.Fprintf(os.Stderr, "\nThe demo failed: %v\n", err)
		os.Exit(1)
	}
}

// run does the whole demo in a directory of its own, with the terraform or tofu
// at path, "" for the one on PATH, and tells out about it. When it returns, its processes have ended and
// the directory is gone.
func run(ctx context.Context, out io.Writer, path string) error {
	path, err := find(path)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "registry-demo-")
	if err != nil {
		return err
	}
	d := &demo{out: out, bin: filepath.Join(dir, "bin"), terraform: terraform{program{path: path, dir: filepath.Join(dir, "configuration")}}}
	if err := errors.Join(d.steps(ctx), d.stop(), os.RemoveAll(dir)); err != nil {
		return err
	}
	d.title("Done")
	d.say("Everything was as it should be. The registries are stopped and all files removed.")
	return nil
}

// title begins a numbered step.
func (d *demo) title(format string, args ...any) {
	d.step++
	fmt.Fprintf(d.out, "\n%d. %s\n\n", d.step, fmt.Sprintf(format, args...))
}

// say prints text below the step's title.
func (d *demo) say(format string, args ...any) {
	for line := range strings.Lines(strings.TrimRight(fmt.Sprintf(format, args...), "\n") + "\n") {
		if line = strings.TrimRight(line, "\n"); line != "" {
			line = "   " + line
		}
		fmt.Fprintln(d.out, line)
	}
}
