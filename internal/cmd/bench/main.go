// Command bench copies the same images between the same registries with imagecopy, the provider
// and every other copier on PATH, and writes the measurements as a page of tables.
//
//	go run ./internal/cmd/bench -rtt 0,20ms -runs 5 -tls
//
// It starts two registries on this machine, each behind a proxy that adds network latency. It
// stops and removes everything afterwards, even if it is interrupted.
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

// run runs the command or one of its subcommands, which run as processes of their own:
// "measure" runs and measures a task, and "raw" is the baseline copier.
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
