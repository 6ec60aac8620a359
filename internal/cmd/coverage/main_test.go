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

func TestPackages_SeveralTestBinaries(t *testing.T) {
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

func TestRead_InvalidLine(t *testing.T) {
	_, err := read(strings.NewReader("mode: set\nnonsense\n"))
	if err == nil || !strings.Contains(err.Error(), `line 2 is not one of a coverage profile: "nonsense"`) {
		t.Errorf("read() = %v, want an error that names line 2", err)
	}
}

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
