// Command soak makes many concurrent copies with one engine between two real registries in this
// process, for minutes. Meanwhile connections are cut, tokens expire, copies are canceled, tags
// are removed and the destination collects garbage. Copies may fail and are then retried. The
// soak verifies:
//
//   - A tag that a copy reports as written is complete: every manifest and blob below it
//     exists and matches its digest.
//   - The referrers of an image are listed and complete if they were copied with it.
//   - A failed copy does not change a tag.
//   - Without faults every copy succeeds at the first attempt.
//   - Memory and goroutines return to their initial level.
//
// Random choices depend on a seed, which is printed:
//
//	go run ./internal/cmd/soak -for 3m -seed 42
//
// The same seed makes the same choices, but not the same order of events. -log writes the log
// of the engine to a file. The exit status is 0 if all checks passed, 1 if one
// failed, which is then printed, 2 if the command line is invalid, and 130 if the soak was
// interrupted and all checks passed until then.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/sirupsen/logrus"
)

func main() {
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(2)
	}
	quiet()
	debug.SetTraceback("all") // print all goroutines if a copy hangs
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends the process without the checks
	err = run(ctx, o, os.Stdout)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	case ctx.Err() != nil:
		os.Exit(130)
	}
}

// quiet disables the request logs of the registries.
func quiet() {
	logrus.SetOutput(io.Discard)
	logrus.SetLevel(logrus.PanicLevel)
}
