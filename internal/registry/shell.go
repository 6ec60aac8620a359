package registry

import (
	"regexp"
	"strings"
)

// ShellWord returns text as one word of a POSIX shell, on one line. Hints contain
// commands that users paste, and the names in them come from files and from
// registries.
func ShellWord(text string) string {
	text = Sanitize(text)
	if plainWord.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// plainWord matches a word without characters that are special to a shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=,-]+$`)
