package main

import (
	"slices"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	o, err := parse([]string{"-rtt", "0,20ms", "-runs", "3", "-only", "tiny,noop", "-tls", "-out", "/tmp/page.md", "-terraform", "/opt/terraform"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []time.Duration{0, 20 * time.Millisecond}; !slices.Equal(o.rtts, want) {
		t.Errorf("parse() rtts = %v, want %v", o.rtts, want)
	}
	var names []string
	for _, s := range o.scenarios() {
		names = append(names, s.name)
	}
	if want := []string{"tiny", "noop"}; !slices.Equal(names, want) {
		t.Errorf("scenarios() = %v, want %v", names, want)
	}
	// The flags for other machines must not contain a path of this one.
	if want := "-rtt 0,20ms -runs 3 -only tiny,noop -tls"; o.rerunFlags != want {
		t.Errorf("rerunFlags = %q, want %q", o.rerunFlags, want)
	}
	if o, err := parse(nil); err != nil || len(o.scenarios()) != len(scenarios) {
		t.Errorf("parse() without flags selects %d of %d scenarios, %v", len(o.scenarios()), len(scenarios), err)
	}
}

func TestParse_Invalid(t *testing.T) {
	for _, args := range [][]string{{"-rtt", "20"}, {"-rtt", "-1ms"}, {"-runs", "0"}, {"-only", "apps"}, {"app"}} {
		if o, err := parse(args); err == nil {
			t.Errorf("parse(%q) = %+v, want an error", args, o)
		}
	}
}
