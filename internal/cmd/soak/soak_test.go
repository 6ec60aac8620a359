package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	quiet()
	os.Exit(m.Run())
}

func TestASoakHolds(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), options{seed: 1, copies: sweepEvery + 8, atOnce: 8}, &out); err != nil {
		t.Error(err)
	}
	t.Log(out.String())
	if strings.Contains(out.String(), " of which 0 were cut") {
		t.Error("there were no faults")
	}
}

func TestAnInterruptedSoakMakesItsChecks(t *testing.T) {
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	var out bytes.Buffer
	if err := run(interrupted, options{seed: 1, copies: 1 << 40, atOnce: 8}, &out); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "\nat rest ") {
		t.Errorf("it says no more than:\n%s", out.String())
	}
}

func TestWhatMakesNoSenseIsRefused(t *testing.T) {
	for _, args := range [][]string{{"-at-once", "0"}, {"-at-once", "99"}, {"-for", "0s"}, {"word"}} {
		if o, err := parse(args); err == nil {
			t.Errorf("%q is %+v", args, o)
		}
	}
	if o, err := parse([]string{"-for", "1h", "-seed", "42"}); err != nil || o.seed != 42 {
		t.Errorf("%+v, %v", o, err)
	}
}
