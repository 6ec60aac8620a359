// Command imagecopy copies images with the engine of the provider, but without Terraform. It is
// meant for investigating the behavior of registries, and for benchmarks.
//
//	imagecopy [flags] SRC DST
//	imagecopy [flags] -list FILE
//
// SRC is a reference by tag or digest, and defaults to the tag "latest". DST has the form
// host/repository:tag, with no part omitted. A list has one "SRC DST" pair on each line. One
// engine makes all copies of the list concurrently and in no particular order. Empty lines and
// lines that start with # are ignored. The list "-" is standard input.
//
// The command writes a report in JSON to standard output: an object or, for a list, an array of
// objects in the order of the list. See type report. It writes errors and advice to standard
// error and, if that is a terminal, the progress of the copies.
//
// The exit status is 0 if every copy succeeded, 1 if a copy failed, 2 if the command line is
// invalid, and 130 if the command was interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
)

// Exit statuses of the command.
const (
	succeeded    = 0
	failed       = 1
	invalidUsage = 2
	interrupted  = 130 // as shells report a program that was ended by SIGINT
)

func main() {
	log.SetOutput(io.Discard) // net/http logs unsolicited responses without sanitizing them
	o, err := parse(os.Args[1:], os.Stdin)
	if err != nil {
		os.Exit(reportUsageError(err, os.Stdout, os.Stderr))
	}
	// Signals are handled only after parsing, so that Ctrl-C ends a program that reads a list
	// from the keyboard.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process immediately
	os.Exit(run(ctx, o, os.Stdout, os.Stderr, term.IsTerminal(int(os.Stderr.Fd()))))
}

// reportUsageError prints what is wrong with the command line, or the help if it was requested,
// and returns the exit status.
func reportUsageError(err error, stdout, stderr io.Writer) int {
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage, help)
		return succeeded
	}
	errs, isList := errors.AsType[listErrors](err)
	if !isList {
		errs = listErrors{err}
	}
	var hints []string // without duplicates, printed after all errors
	for _, err := range errs {
		fmt.Fprintln(stderr, "imagecopy:", err)
		if e, ok := errors.AsType[*registry.Error](err); ok && e.Hint != "" && !slices.Contains(hints, e.Hint) {
			hints = append(hints, e.Hint)
		}
	}
	for _, hint := range hints {
		fmt.Fprintln(stderr, "  "+hint)
	}
	return invalidUsage
}

// run makes the copies and returns the exit status. terminal reports whether stderr is a
// terminal.
func run(ctx context.Context, o options, stdout, stderr io.Writer, terminal bool) int {
	log := o.logger(stderr)
	client, err := o.client(log)
	if err != nil {
		return reportUsageError(err, stdout, stderr)
	}
	if len(o.pairs) == 0 {
		fmt.Fprintf(stderr, "imagecopy: %s names no copies\n", listName(o.list))
	}

	began := time.Now()
	b := &batch{client: client, engine: copier.New(log), pairs: o.pairs, platforms: o.platforms, referrers: o.referrers, hints: hints{client, o}}
	var results []result
	if terminal && !o.verbose && !o.trace {
		stop := showProgress(stderr, func() string { return b.progress(time.Since(began)) })
		results = b.copy(ctx)
		stop()
		fmt.Fprintln(stderr, summary(results, time.Since(began)))
	} else {
		results = b.copy(ctx)
	}
	status := reportErrors(ctx, stderr, results)
	if o.quiet {
		return status
	}
	if err := writeReports(stdout, results, o.list != ""); err != nil {
		fmt.Fprintln(stderr, "imagecopy: the report cannot be written:", err)
		return max(status, failed)
	}
	return status
}
