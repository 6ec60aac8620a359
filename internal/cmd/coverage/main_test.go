package main

import (
	"bytes"
	"maps"
	"strings"
	"testing"
)

const twoBinaries = `mode: set
github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/error.go:1.2,3.4 8 1
github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/error.go:5.2,6.4 2 0
github.com/terraform-provider-registry/terraform-provider-registry/internal/provider/provider.go:1.2,3.4 3 0
github.com/terraform-provider-registry/terraform-provider-registry/internal/cmd/demo/main.go:1.2,3.4 100 0
github.com/terraform-provider-registry/terraform-provider-registry/main.go:1.2,3.4 100 0
mode: set
github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/error.go:1.2,3.4 8 0
github.com/terraform-provider-registry/terraform-provider-registry/internal/provider/provider.go:1.2,3.4 3 1
`

func TestBlocksOfSeveralTestBinariesCountOnce(t *testing.T) {
	p, err := read(strings.NewReader(twoBinaries))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]count{
		"internal/registry": {statements: 10, covered: 8},
		"internal/provider": {statements: 3, covered: 3},
	}
	if got := p.packages(); !maps.Equal(got, want) {
		t.Errorf("packages = %v, want %v", got, want)
	}
}

func TestTheLineThatCannotBeReadIsNamed(t *testing.T) {
	_, err := read(strings.NewReader("mode: set\nnonsense\n"))
	if err == nil || !strings.Contains(err.Error(), `line 2 is not one of a coverage profile: "nonsense"`) {
		t.Errorf("error = %v", err)
	}
}

func TestWhatIsEnough(t *testing.T) {
	for _, c := range []struct {
		name     string
		packages map[string]count
		enough   bool
	}{
		{"all above", map[string]count{"a": {100, 86}}, true},
		{"total not above its limit", map[string]count{"a": {100, 85}}, false},
		{"a package at its limit", map[string]count{"a": {1000, 1000}, "b": {4, 3}}, true},
		{"no packages at all", nil, false},
		{"a package under its limit", map[string]count{"a": {1000, 1000}, "b": {100, 74}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			if got := report(&out, c.packages); got != c.enough {
				t.Errorf("report = %v, want %v; it printed\n%s", got, c.enough, &out)
			}
		})
	}
}

func TestReportIsSortedAndEndsWithTheTotal(t *testing.T) {
	var out bytes.Buffer
	report(&out, map[string]count{"internal/b": {10, 9}, "internal/a": {30, 30}})
	want := "statements covered:\n  100.0 %  internal/a\n   90.0 %  internal/b\n   97.5 %  total\n"
	if out.String() != want {
		t.Errorf("printed\n%s, want\n%s", &out, want)
	}
}
