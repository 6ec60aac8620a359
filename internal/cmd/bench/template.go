package main

import (
	"regexp"
	"strings"
)

// template is a command line with places such as {source} for what differs from
// one copy to the next. Spaces separate its words; words NAME=value before the
// program are variables of its environment.
type template string

var (
	placePattern    = regexp.MustCompile(`\{[a-z]+\}`)
	variablePattern = regexp.MustCompile(`^[A-Z_]+=`)
)

// command is a command line to run.
type command struct {
	Env  []string // besides what all commands have
	Args []string // the program first
}

// fill puts values, which may have spaces, into their places. A place without a
// value stays as it is.
func (t template) fill(values map[string]string) command {
	var c command
	for word := range strings.FieldsSeq(string(t)) {
		filled := placePattern.ReplaceAllStringFunc(word, func(place string) string {
			if value, ok := values[strings.Trim(place, "{}")]; ok {
				return value
			}
			return place
		})
		if len(c.Args) == 0 && variablePattern.MatchString(word) {
			c.Env = append(c.Env, filled)
		} else {
			c.Args = append(c.Args, filled)
		}
	}
	return c
}
