package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"time"
)

// options are the command line.
type options struct {
	seed   uint64
	lasts  time.Duration
	copies uint64 // 0 for as many as there is time for
	atOnce int
}

// parse reads the command line. The error is flag.ErrHelp where help was asked
// for, and has been told already.
func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.DurationVar(&o.lasts, "for", 3*time.Minute, "how long copies are begun")
	flags.Uint64Var(&o.copies, "copies", 0, "begin this many copies, however long they take; 0 for as many as there is time for")
	flags.Uint64Var(&o.seed, "seed", 0, "make the random choices of this seed; 0 takes another one each time")
	flags.IntVar(&o.atOnce, "at-once", 8, fmt.Sprintf("how many copies are made at a time, at most %d", mostAtOnce))
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 || o.atOnce < 1 || o.atOnce > mostAtOnce || o.lasts <= 0 {
		return options{}, errors.New("that makes no sense; -help lists the flags and what they take")
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1 << 32) // short enough to be typed
	}
	return o, nil
}
