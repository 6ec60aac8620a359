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
var about = fmt.Sprintf(`The soak lets one engine make many copies at once between two registries of this
process, while connections are cut, tokens expire, copies are cancelled, tags are
removed and the destination collects its garbage. It ends with "everything held",
or names what did not: a tag that is not whole, or is another one after a copy
that failed; what was to come along and did not; memory or goroutines that stay.

A copy may fail meanwhile. The counts that say so are no faults:

done         the copy succeeded, at once or when it was tried again
given up     it failed %d times in a row, which is as often as it is tried
cancelled    its context was cancelled on the way, on purpose
could not know it
             the copy failed because no answer came, and the registry had
             written the tag all the same
postponed    a garbage collection did not begin, because it waits for requests
             that are under way, and some took longer than %s
`, maxAttempts, sweepTimeout)

// parse parses the command line. It returns flag.ErrHelp if help was requested, after printing
// it.
func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.DurationVar(&o.duration, "for", 3*time.Minute, "how long copies are begun")
	flags.Uint64Var(&o.copies, "copies", 0, "begin this many copies, however long they take; 0 for as many as there is time for")
	flags.Uint64Var(&o.seed, "seed", 0, "make the random choices of this seed; 0 takes another one each time")
	flags.IntVar(&o.concurrency, "at-once", 8, fmt.Sprintf("how many copies are made at a time, at most %d", maxConcurrency))
	log := flags.String("log", "", "write what the engine tells of its copies, and when garbage was collected, into this `file`")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), about+"\nThe flags are\n")
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
