// Command imagecopy is the copy engine without Terraform: for finding out what a
// registry does, and for benchmarks.
//
//	imagecopy [flags] SRC DST
//	imagecopy [flags] -list FILE
//
// SRC is a tag or digest, the tag "latest" where it is neither; DST is
// host/repository:tag, all three. A list has one "SRC DST" pair a line, all
// copied by one engine, at the same time and in no order; empty lines and lines
// that begin with # do not count. The list "-" is standard input.
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
	"slices"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
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
	log.SetOutput(io.Discard) // net/http logs what servers send unasked, as it came
	o, err := parse(os.Args[1:], os.Stdin)
	if err != nil {
		os.Exit(misuse(err, os.Stdout, os.Stderr))
	}
	// Not sooner: a list that comes from the keyboard is left by Ctrl-C as any
	// other program is.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal does not wait for anything
	os.Exit(run(ctx, o, os.Stdout, os.Stderr, term.IsTerminal(int(os.Stderr.Fd()))))
}

// misuse tells what is wrong with the command line, or gives the help that it
// asked for, and returns the exit status.
func misuse(err error, stdout, stderr io.Writer) int {
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage, help)
		return succeeded
	}
	errs, several := errors.AsType[mistakes](err)
	if !several {
		errs = mistakes{err}
	}
	var hints []string // each once, below all that it may be for
	for _, err := range errs {
		fmt.Fprintln(stderr, "imagecopy:", err)
		if e, ok := errors.AsType[*registry.Error](err); ok && e.Hint != "" && !slices.Contains(hints, e.Hint) {
			hints = append(hints, e.Hint)
		}
	}
	for _, hint := range hints {
		fmt.Fprintln(stderr, "  "+hint)
	}
	return misused
}

// run makes the copies and returns the exit status. terminal says whether
// somebody looks at stderr.
func run(ctx context.Context, o options, stdout, stderr io.Writer, terminal bool) int {
	log := o.logger(stderr)
	client, err := o.client(log)
	if err != nil {
		return misuse(err, stdout, stderr)
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
