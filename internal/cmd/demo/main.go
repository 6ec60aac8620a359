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

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/internal/child"
)

func main() {
	path := flag.String("terraform", "", "the terraform or tofu `program` to run; by default what is on PATH")
	flag.Parse()

	// A write into a closed pipe ("| head") is an error, and not the end on the
	// spot, which would leave everything behind.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
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
// at path, "" for the one on PATH, and tells out about it, for as long as out
// takes what it is told. When it returns, its processes have ended and the
// directory is gone.
func run(ctx context.Context, out io.Writer, path string) error {
	path, err := find(path)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "registry-demo-")
	if err != nil {
		return err
	}
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	d := &demo{out: audience{out, leave}, dir: dir, terraform: terraform{child.Program{Path: path, Dir: filepath.Join(dir, "configuration")}}}
	err = d.steps(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx) // what failed failed because of this
	}
	if err := errors.Join(err, d.stop(), os.RemoveAll(dir)); err != nil {
		return err
	}
	d.title("Done")
	d.say("Everything was as it should be. The registries are stopped and all files removed.")
	return context.Cause(ctx)
}

// audience is who the demo is shown to. Where nobody reads any more, there is
// nothing left to do but to clean up.
type audience struct {
	io.Writer
	leave func(error)
}

// Write implements io.Writer.
func (a audience) Write(p []byte) (int, error) {
	n, err := a.Writer.Write(p)
	if err != nil {
		a.leave(fmt.Errorf("what it shows cannot be written: %w", err))
	}
	return n, err
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
