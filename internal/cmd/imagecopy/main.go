// Command imagecopy is the copy engine without Terraform: for finding out what a
// registry does, and for benchmarks.
//
//	imagecopy [flags] SRC DST
//	imagecopy [flags] -list FILE
//
// SRC is a tag or digest, DST a tag; either is "latest" where there is none. A
// list has one "SRC DST" pair a line, all copied by one engine, at the same time
// and in no order; empty lines and lines that begin with # do not count.
//
// Standard output gets a report in JSON, an object or, for a list, an array of
// them in the list's order; type report says what is in it. Standard error gets
// what went wrong and what to do about it and, where it is a terminal, how far
// the copies are.
//
// The exit status is 0 when every copy succeeded, 1 when one failed, 2 when the
// command line makes no sense, and 130 when it was interrupted.
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
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
)

// The exit statuses.
const (
	succeeded   = 0
	failed      = 1
	misused     = 2
	interrupted = 130 // as shells report a program that SIGINT ended
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal does not wait for anything
	log.SetOutput(io.Discard)    // net/http logs what servers send unasked, as it came
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, term.IsTerminal(int(os.Stderr.Fd()))))
}

// run does all that main does and returns the exit status. terminal says whether
// somebody looks at stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, terminal bool) int {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		usage(stdout)
		return succeeded
	}
	if err != nil {
		fmt.Fprintln(stderr, "imagecopy:", err)
		return misused
	}
	log := o.logger(stderr)
	client, err := o.client(log)
	if err != nil {
		fmt.Fprintln(stderr, "imagecopy:", err)
		return misused
	}
	if len(o.pairs) == 0 {
		fmt.Fprintf(stderr, "imagecopy: %s names no copies\n", o.list)
	}

	began := time.Now()
	b := &batch{client: client, engine: copier.New(log), pairs: o.pairs}
	var results []result
	if terminal && !o.verbose && !o.trace {
		stop := showProgress(stderr, func() string { return b.progress(time.Since(began)) })
		results = b.copy(ctx)
		stop()
		fmt.Fprintln(stderr, summary(results, time.Since(began)))
	} else {
		results = b.copy(ctx)
	}
	status := complain(ctx, stderr, results)
	if o.quiet {
		return status
	}
	if err := writeReports(stdout, results, o.list != ""); err != nil {
		fmt.Fprintln(stderr, "imagecopy: the report cannot be written:", err)
		return max(status, failed)
	}
	return status
}
