package main

import (
	"bytes"
	"testing"
)

func TestReport_Limits(t *testing.T) {
	for _, c := range []struct {
		name     string
		packages map[string]count
		enough   bool
	}{
		{"above_limits", map[string]count{"a": {100, 86}}, true},
		{"total_at_limit", map[string]count{"a": {100, 85}}, false},
		{"package_at_limit", map[string]count{"a": {1000, 1000}, "b": {4, 3}}, true},
		{"no_packages", nil, false},
		{"package_below_limit", map[string]count{"a": {1000, 1000}, "b": {100, 74}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			if got := report(&out, c.packages); got != c.enough {
				t.Errorf("report() = %v, want %v, output:\n%s", got, c.enough, &out)
			}
		})
	}
}

func TestReport_Output(t *testing.T) {
	var out bytes.Buffer
	report(&out, map[string]count{"internal/b": {10, 9}, "internal/a": {30, 30}})
	want := "statements covered:\n  100.0 %  internal/a\n   90.0 %  internal/b\n   97.5 %  total\n"
	if out.String() != want {
		t.Errorf("report() printed\n%s, want\n%s", &out, want)
	}
}
