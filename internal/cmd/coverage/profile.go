package main

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"strings"
)

// profile maps each block of code in a coverage profile to its number of statements and whether
// a test ran it. With -coverpkg every test binary reports every block, so that a block occurs
// repeatedly.
type profile map[string]block

type block struct {
	statements int
	covered    bool
}

// count is a number of statements and how many of them are covered.
type count struct{ statements, covered int }

// percent returns the covered share of c. It returns 0 if c has no statements, so that a
// profile without packages does not pass.
func (c count) percent() float64 {
	if c.statements == 0 {
		return 0
	}
	return 100 * float64(c.covered) / float64(c.statements)
}

// read parses a profile, which has a line "mode: …" followed by lines of the form
// "file.go:line.column,line.column statements runs". The error names a line with another form.
func read(r io.Reader) (profile, error) {
	p := profile{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if strings.HasPrefix(line, "mode: ") {
			continue
		}
		var where string
		var statements, runs int
		if _, err := fmt.Sscanf(line, "%s %d %d", &where, &statements, &runs); err != nil {
			return nil, fmt.Errorf("line %d is not one of a coverage profile: %q", n, line)
		}
		p[where] = block{statements: statements, covered: runs > 0 || p[where].covered}
	}
	return p, lines.Err()
}

// packages returns the statements by package path below internal/, without commands.
func (p profile) packages() map[string]count {
	packages := map[string]count{}
	for where, b := range p {
		file, _, _ := strings.Cut(where, ":")
		if !strings.HasPrefix(file, counted) || strings.HasPrefix(file, commands) {
			continue
		}
		name := strings.TrimPrefix(path.Dir(file), module)
		c := packages[name]
		c.statements += b.statements
		if b.covered {
			c.covered += b.statements
		}
		packages[name] = c
	}
	return packages
}
