package main

import (
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
