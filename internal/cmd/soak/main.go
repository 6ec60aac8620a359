// Command soak lets one engine make many copies at once between two real
// registries of this process, for minutes, while connections are cut, tokens
// expire, copies are cancelled, tags are removed and the destination collects its
// garbage. A copy may fail then, and is made again. What must hold all the same:
//
//   - a tag that a copy reports as written is whole: every manifest and blob
//     below it is there and has its digest;
//   - what refers to an image is listed and whole where it came along;
//   - the tag of a copy that failed holds what it held before;
//   - without faults every copy succeeds at once;
//   - memory and goroutines are back to where they were.
//
// Random choices come from a seed, which is printed:
//
//	go run ./internal/cmd/soak -for 3m -seed 42
//
// The same seed makes the same choices, and not the same order of events; -log
// writes down what the engine tells of them. The exit status is 0 when all of that
// held, 1 when something did not, which is then named, 2 when the command line
// makes no sense, and 130 when it was interrupted and all held until then.
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
	debug.SetTraceback("all") // of a copy that hangs
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal does not wait for the checks
	err = run(ctx, o, os.Stdout)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	case ctx.Err() != nil:
		os.Exit(130)
	}
}

// quiet keeps the registries from logging each request.
func quiet() {
	logrus.SetOutput(io.Discard)
	logrus.SetLevel(logrus.PanicLevel)
}
