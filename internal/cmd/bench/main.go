// Command bench copies the same images between the same registries with the
// engine and with every other copier on PATH, and writes what each took as a
// page of tables.
//
//	go run ./internal/cmd/bench -rtt 0,20ms -runs 5 -tls
//
// It starts two registries on this machine, with a proxy before each that delays
// as a distance would. All of that is stopped and removed afterwards, also when
// it is interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case interrupted:
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the command, or one of the parts of it that are processes of their own:
// "measure" between the bench and what it measures, and "raw", the yardstick.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "measure":
			return runMeasure(ctx, args[1:], stdout)
		case "raw":
			return runRaw(ctx, args[1:])
		}
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	return runBench(ctx, o, stderr)
}
