// Command imagecopy is the copy engine without Terraform: for finding out what a
// registry does, and for benchmarks.
//
//	imagecopy [flags] SRC DST
//	imagecopy [flags] -list FILE
//
// SRC is a tag or digest, DST a tag. A list has one "SRC DST" pair a line, all
// copied at once by one engine. The report goes to standard output as JSON,
// progress to standard error where that is a terminal. The exit status is 0
// only when every copy succeeded.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/term"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/copier"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, term.IsTerminal(int(os.Stderr.Fd()))))
}

// options are the command line.
type options struct {
	list      string
	quiet     bool
	verbose   bool
	plainHTTP *bool
	caFile    string
	pairs     []pair
}

// run does all that main does, and returns the exit status: 0 where every copy
// succeeded, 1 where one failed, 2 where the command line is not right.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, terminal bool) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "imagecopy:", err)
		return 2
	}
	client, err := newClient(o, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "imagecopy:", err)
		return 2
	}
	engine := copier.New(logger(o, stderr))
	if terminal && !o.verbose {
		defer showProgress(stderr, engine)()
	}
	reports := copyAll(ctx, client, engine, o.pairs)
	status := 0
	for _, r := range reports {
		if r.err != nil {
			status = 1
		}
	}
	if !o.quiet {
		writeReports(stdout, reports, o.list != "")
	}
	for _, r := range reports {
		complain(stderr, r)
	}
	return status
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("imagecopy", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: imagecopy [flags] SRC DST\n       imagecopy [flags] -list FILE\n\nCredentials come from the docker configuration.")
		flags.PrintDefaults()
	}
	flags.StringVar(&o.list, "list", "", "copy every `FILE`'s pairs, one \"SRC DST\" a line, at once")
	flags.BoolVar(&o.quiet, "q", false, "write no report")
	flags.BoolVar(&o.verbose, "v", false, "log what happens to each blob and manifest to standard error")
	flags.StringVar(&o.caFile, "ca", "", "trust the certificates in `FILE` (PEM) too")
	flags.Func("plain-http", "speak HTTP to every registry (true) or to none (false); by default to loopback alone", func(s string) error {
		plain, err := strconv.ParseBool(s)
		o.plainHTTP = &plain
		return err
	})
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case o.list != "" && flags.NArg() > 0:
		return o, errors.New("give a list or a pair, not both")
	case o.list != "":
		pairs, err := readList(o.list)
		o.pairs = pairs
		return o, err
	case flags.NArg() != 2:
		flags.Usage()
		return o, fmt.Errorf("a copy needs SRC and DST, and %d arguments were given", flags.NArg())
	}
	p, err := newPair(flags.Arg(0), flags.Arg(1))
	o.pairs = []pair{p}
	return o, err
}

// newClient translates the command line into the client's options.
func newClient(o options, stderr io.Writer) (*remote.Client, error) {
	ro := remote.Options{UserAgent: "imagecopy", Logger: logger(o, stderr), Hosts: map[string]remote.HostOptions{}}
	var settings remote.HostOptions
	settings.PlainHTTP = o.plainHTTP
	if o.caFile != "" {
		ca, err := os.ReadFile(o.caFile)
		if err != nil {
			return nil, err
		}
		settings.CACertificate = ca
	}
	if settings.PlainHTTP != nil || settings.CACertificate != nil {
		for _, p := range o.pairs {
			ro.Hosts[p.source.Host], ro.Hosts[p.destination.Host] = settings, settings
		}
	}
	return remote.New(ro)
}

func logger(o options, stderr io.Writer) *slog.Logger {
	if !o.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// entry is one copy in the report.
type entry struct {
	Source      string `json:"source"`
	Destination string `json:"destination"`
	copier.Report
	Error string `json:"error,omitempty"`
}

func writeReports(w io.Writer, reports []result, list bool) {
	entries := []entry{}
	for _, r := range reports {
		e := entry{Source: r.pair.source.String(), Destination: r.pair.destination.String(), Report: r.report}
		if r.err != nil {
			e.Error = r.err.Error()
		}
		entries = append(entries, e)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if list {
		_ = encoder.Encode(entries)
		return
	}
	_ = encoder.Encode(entries[0])
}

// complain tells what went wrong and what to do.
func complain(w io.Writer, r result) {
	for _, warning := range r.report.Warnings {
		fmt.Fprintln(w, "imagecopy: warning:", warning)
	}
	if r.err == nil {
		return
	}
	fmt.Fprintln(w, "imagecopy:", r.err)
	var e *registry.Error
	if errors.As(r.err, &e) && e.Hint != "" {
		fmt.Fprintln(w, "  "+e.Hint)
	}
}
