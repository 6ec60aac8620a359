package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/remote"
)

// options are the command line.
type options struct {
	list      string
	quiet     bool
	verbose   bool
	trace     bool
	plainHTTP *bool // nil where the engine's own rule holds
	caFile    string
	pairs     []pair
}

// flags are what fills o.
func (o *options) flags() *flag.FlagSet {
	flags := flag.NewFlagSet("imagecopy", flag.ContinueOnError)
	// Its errors are told by whoever parses, and help only to those who ask.
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.list, "list", "", "copy the pairs in `FILE`, one \"SRC DST\" a line, all at the same time")
	flags.BoolVar(&o.quiet, "q", false, "write no report")
	flags.BoolVar(&o.verbose, "v", false, "log to standard error what happens to each blob and manifest")
	flags.BoolVar(&o.trace, "trace", false, "log each request too")
	flags.StringVar(&o.caFile, "ca", "", "trust the certificate authorities in `FILE` (PEM) besides the system's")
	flags.BoolFunc("plain-http", "speak plain HTTP with every registry, or TLS with -plain-http=false; otherwise\nplain HTTP with those on loopback, and TLS with all others", func(s string) error {
		plain, err := strconv.ParseBool(s)
		if err != nil {
			return errors.New("say true or false")
		}
		o.plainHTTP = &plain
		return nil
	})
	return flags
}

// parse reads the command line, and the list that it names. The error is
// flag.ErrHelp where help was asked for.
func parse(args []string) (options, error) {
	var o options
	flags := o.flags()
	if err := flags.Parse(args); err != nil {
		return options{}, fmt.Errorf("%w; imagecopy -h lists the flags", err)
	}
	var err error
	switch {
	case o.list == "":
		var p pair
		p, err = newPair(flags.Args())
		o.pairs = []pair{p}
	case flags.NArg() > 0:
		err = errors.New("give a list or a pair, not both")
	default:
		o.pairs, err = readList(o.list)
	}
	return o, err
}

func usage(w io.Writer) {
	fmt.Fprint(w, `usage: imagecopy [flags] SRC DST
       imagecopy [flags] -list FILE

Copies an image, or any other manifest, with everything below it from the tag or
digest SRC to the tag DST. Credentials come from the docker or podman
configuration. A report goes to standard output, as JSON.

`)
	flags := new(options).flags()
	flags.SetOutput(w)
	flags.PrintDefaults()
}

// client translates the command line into the client's options.
func (o options) client(log *slog.Logger) (*remote.Client, error) {
	settings := remote.HostOptions{PlainHTTP: o.plainHTTP}
	if o.caFile != "" {
		var err error
		if settings.CACertificate, err = os.ReadFile(o.caFile); err != nil {
			return nil, err
		}
	}
	hosts := map[string]remote.HostOptions{}
	for _, p := range o.pairs {
		hosts[p.source.Host], hosts[p.destination.Host] = settings, settings
	}
	client, err := remote.New(remote.Options{UserAgent: "imagecopy", Logger: log, Hosts: hosts})
	if err != nil && o.caFile != "" {
		err = fmt.Errorf("%s: %w", o.caFile, err)
	}
	return client, err
}

// logger makes the one that client and engine share.
func (o options) logger(stderr io.Writer) *slog.Logger {
	level := slog.LevelDebug
	switch {
	case o.trace:
		level = remote.LevelTrace
	case !o.verbose:
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
}
