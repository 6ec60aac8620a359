package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// options are the command-line options.
type options struct {
	seed        uint64
	duration    time.Duration
	copies      uint64 // 0 for no limit
	concurrency int
	log         *os.File // log of the engine; may be nil
}

// about is the part of the help text before the flags.
var about = fmt.Sprintf(`Makes many concurrent copies with one engine between two registries of this process,
while connections are cut, tokens expire, copies are canceled, tags are removed and
the destination collects garbage. The output ends with "all checks passed", or lists
the failed checks: a tag that is incomplete or was changed by a failed copy, missing
referrers, or memory and goroutines that were not released.

Copies may fail. These counts are not failed checks:

done         the copy succeeded, at the first attempt or a later one
given up     the copy failed in all %d attempts
canceled     the soak test canceled the copy
unreported   the copy failed because a response was lost, but the registry had
             written the tag
postponed    a garbage collection did not start, because it waits for active
             requests, and some took longer than %s
`, maxAttempts, sweepTimeout)

// parse parses the command line. It returns flag.ErrHelp if help was requested, after printing
// it.
func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.DurationVar(&o.duration, "for", 3*time.Minute, "start copies for this `duration`")
	flags.Uint64Var(&o.copies, "copies", 0, "start this `number` of copies, regardless of the time; 0 is as many as -for allows")
	flags.Uint64Var(&o.seed, "seed", 0, "the `seed` of the random choices; 0 selects a random one")
	flags.IntVar(&o.concurrency, "at-once", 8, fmt.Sprintf("the `number` of concurrent copies, at most %d", maxConcurrency))
	log := flags.String("log", "", "write the log of the engine and the times of garbage collections to this `file`")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), about+"\nFlags:\n")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 || o.concurrency < 1 || o.concurrency > maxConcurrency || o.duration <= 0 {
		return options{}, errors.New("that makes no sense; -help lists the flags and what they take")
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1 << 32) // short enough to type
	}
	if *log == "" {
		return o, nil
	}
	var err error
	o.log, err = os.Create(*log) // closed when the process exits
	return o, err
}
