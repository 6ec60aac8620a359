package main

import (
	"regexp"
	"strings"
)

// template is a command line with placeholders such as {source} for the parts that differ
// between copies. Words are separated by spaces. Words of the form NAME=value before the
// program are environment variables.
type template string

var (
	placeholderPattern = regexp.MustCompile(`\{[a-z]+\}`)
	variablePattern    = regexp.MustCompile(`^[A-Z_]+=`)
)

// command is a command line to run.
type command struct {
	Env  []string // in addition to the common environment
	Args []string // starts with the program
}

// fill replaces placeholders with their values, which may contain spaces. A placeholder without
// a value is kept.
func (t template) fill(values map[string]string) command {
	var c command
	for word := range strings.FieldsSeq(string(t)) {
		filled := placeholderPattern.ReplaceAllStringFunc(word, func(placeholder string) string {
			if value, ok := values[strings.Trim(placeholder, "{}")]; ok {
				return value
			}
			return placeholder
		})
		if len(c.Args) == 0 && variablePattern.MatchString(word) {
			c.Env = append(c.Env, filled)
		} else {
			c.Args = append(c.Args, filled)
		}
	}
	return c
}
