package main

import (
	"slices"
	"testing"
	"time"
)

func TestOptions(t *testing.T) {
	o, err := parse([]string{"-rtt", "0,20ms", "-runs", "3", "-only", "tiny,noop", "-tls", "-out", "/tmp/page.md", "-terraform", "/opt/terraform"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []time.Duration{0, 20 * time.Millisecond}; !slices.Equal(o.rtts, want) {
		t.Errorf("the round-trip times are %v, want %v", o.rtts, want)
	}
	var names []string
	for _, s := range o.scenarios() {
		names = append(names, s.name)
	}
	if want := []string{"tiny", "noop"}; !slices.Equal(names, want) {
		t.Errorf("the scenarios are %v, want %v", names, want)
	}
	// Others run it on other machines: no path of this one is in it.
	if want := "-rtt 0,20ms -runs 3 -only tiny,noop -tls"; o.again != want {
		t.Errorf("again is %q, want %q", o.again, want)
	}
	if o, err := parse(nil); err != nil || len(o.scenarios()) != len(scenarios) {
		t.Errorf("without flags it measures %d of %d scenarios, %v", len(o.scenarios()), len(scenarios), err)
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for _, args := range [][]string{{"-rtt", "20"}, {"-rtt", "-1ms"}, {"-runs", "0"}, {"-only", "apps"}, {"app"}} {
		if o, err := parse(args); err == nil {
			t.Errorf("%q is taken for %+v", args, o)
		}
	}
}
