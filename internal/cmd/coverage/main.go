// Command coverage reads a profile of `go test -coverprofile` and prints the statement coverage
// of each package and of all packages together. It exits with status 1 if the coverage is below
// the limits of this project.
//
//	go run ./internal/cmd/coverage coverage.out
//
// Commands are not counted, because they are short and tests run them as separate processes,
// which a profile does not cover. Everything else counts, including support for tests.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"slices"
)

const (
	module   = "github.com/terraform-provider-registry/terraform-provider-registry/"
	counted  = module + "internal/"
	commands = counted + "cmd/"

	// total is the coverage in percent that all packages together must exceed. each is the
	// minimum for each package.
	total = 85.0
	each  = 75.0
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: coverage PROFILE")
	}
	if err := run(os.Stdout, os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(w io.Writer, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	profile, err := read(file)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !report(w, profile.packages()) {
		return fmt.Errorf("coverage is too low: more than %g %% in all and at least %g %% in each package are asked for", total, each)
	}
	return nil
}

// report prints a line for each package and one for the total, and reports whether all limits
// are met.
func report(w io.Writer, packages map[string]count) bool {
	names := make([]string, 0, len(packages))
	for name := range packages {
		names = append(names, name)
	}
	slices.Sort(names)

	var all count
	enough := true
	fmt.Fprintln(w, "statements covered:")
	for _, name := range names {
		c := packages[name]
		all.statements += c.statements
		all.covered += c.covered
		enough = enough && c.percent() >= each
		fmt.Fprintf(w, "  %5.1f %%  %s\n", c.percent(), name)
	}
	fmt.Fprintf(w, "  %5.1f %%  total\n", all.percent())
	return enough && all.percent() > total
}
