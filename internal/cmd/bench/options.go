package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
)

// options are the command-line options.
type options struct {
	rtts      []time.Duration
	runs      int
	only      []string // names of scenarios; all if empty
	tls       bool
	out       string
	terraform string
	// rerunFlags are the flags that repeat the measurement on another machine.
	rerunFlags string
}

// parse parses the command line. It returns flag.ErrHelp if help was requested, after printing
// it.
func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	rtts := flags.String("rtt", "0,20ms", "the round-trip `times` to each registry")
	flags.IntVar(&o.runs, "runs", 5, "the `number` of runs of each copier for each scenario")
	only := flags.String("only", "", "the `scenarios` to measure, from "+strings.Join(scenarioNames(), ",")+"; defaults to all")
	flags.BoolVar(&o.tls, "tls", false, "also measure over TLS, where the registries offer HTTP/2")
	flags.StringVar(&o.out, "out", "BENCHMARKS.md", "write the tables to this `file`")
	flags.StringVar(&o.terraform, "terraform", "terraform", "the terraform or tofu `program` to run")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 || o.runs < 1 {
		return options{}, errors.New("say at least one run, and nothing but flags; -help lists them")
	}
	for word := range strings.SplitSeq(*rtts, ",") {
		rtt, err := time.ParseDuration(word)
		if err != nil || rtt < 0 {
			return options{}, fmt.Errorf("%q is no round-trip time", word)
		}
		o.rtts = append(o.rtts, rtt)
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(scenarioNames(), name) {
			return options{}, fmt.Errorf("there is no scenario %q", name)
		}
	}
	o.rerunFlags = fmt.Sprintf("-rtt %s -runs %d", *rtts, o.runs)
	if *only != "" {
		o.rerunFlags += " -only " + *only
	}
	if o.tls {
		o.rerunFlags += " -tls"
	}
	return o, nil
}

// scenarios returns the selected scenarios.
func (o options) scenarios() []scenario {
	return slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool {
		return len(o.only) > 0 && !slices.Contains(o.only, s.name)
	})
}
