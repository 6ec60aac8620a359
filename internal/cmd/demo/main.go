// Command demo demonstrates the provider and verifies what it shows. It starts two real
// registries on this machine, promotes two images from one to the other with terraform or tofu,
// and compares the copies with the originals.
//
//	go run ./internal/cmd/demo
//
// The exit status is 0 only if everything was as expected. The demo removes all of its files
// and stops its processes afterwards, even if it is interrupted.
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
	path := flag.String("terraform", "", "the terraform or tofu `program` to run; defaults to the one on PATH")
	flag.Parse()

	// A write to a closed pipe ("| head") must return an error. The default action of SIGPIPE
	// would end the process without removing its files.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Stdout, *path)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "\nInterrupted. The registries were stopped and all files removed.")
		os.Exit(130)
	case err != nil:
		fmt.Fprintf(os.Stderr, "\nThe demo failed: %v\n", err)
		os.Exit(1)
	}
}

// run runs the demo in a new directory with the terraform or tofu at path, or the one on PATH
// if path is "". It prints the steps to out, and stops the demo if out returns an error. When
// run returns, its processes have ended and the directory is removed.
func run(ctx context.Context, out io.Writer, path string) error {
	path, err := findTerraform(path)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "registry-demo-")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d := &demo{out: cancelWriter{out, cancel}, dir: dir, terraform: terraform{child.Program{Path: path, Dir: filepath.Join(dir, "configuration")}}}
	err = d.steps(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx) // the error is a consequence of the canceled context
	}
	if err := errors.Join(err, d.stop(), os.RemoveAll(dir)); err != nil {
		return err
	}
	d.title("Done")
	d.printf("All checks passed. The registries were stopped and all files removed.")
	return context.Cause(ctx)
}

// cancelWriter cancels the demo if its output cannot be written, because then only the cleanup
// is left to do.
type cancelWriter struct {
	io.Writer
	cancel func(error)
}

// Write implements io.Writer.
func (a cancelWriter) Write(p []byte) (int, error) {
	n, err := a.Writer.Write(p)
	if err != nil {
		a.cancel(fmt.Errorf("what it shows cannot be written: %w", err))
	}
	return n, err
}

// title prints the title of the next numbered step.
func (d *demo) title(format string, args ...any) {
	d.step++
	fmt.Fprintf(d.out, "\n%d. %s\n\n", d.step, fmt.Sprintf(format, args...))
}

// printf prints indented text below the title of the step.
func (d *demo) printf(format string, args ...any) {
	for line := range strings.Lines(strings.TrimRight(fmt.Sprintf(format, args...), "\n") + "\n") {
		if line = strings.TrimRight(line, "\n"); line != "" {
			line = "   " + line
		}
		fmt.Fprintln(d.out, line)
	}
}
