package main

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"strings"
)

// profile is what a coverage profile says: for each block of code, how many
// statements it has and whether any test ran it. With -coverpkg every test
// binary reports every block, so that a block comes many times.
type profile map[string]block

type block struct {
	statements int
	covered    bool
}

// count is a number of statements.
type count struct{ statements, covered int }

// percent is how much of c is covered. Of nothing, nothing is: a profile of no
// packages must not pass.
func (c count) percent() float64 {
	if c.statements == 0 {
		return 0
	}
	return 100 * float64(c.covered) / float64(c.statements)
}

// read reads a profile: a line "mode: …", then lines of
// "file.go:line.column,line.column statements runs". The error names the line
// that is none of these.
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

// packages adds up what is counted, by package path below internal/.
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
